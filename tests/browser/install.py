"""Find a Chromium for the browser tests, or get one; prints its path.

Looked for, in this order: $CHROMIUM, the names on PATH, what Playwright downloaded. Then fetched: by Playwright, or
as the distribution's package. A candidate counts when it says its version: a name on PATH may be a stub that advises to
install something, and a downloaded browser may lack the system's libraries.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DOWNLOADS = "chromium-*/chrome-linux*/chrome"
DOWNLOAD_LIMIT, PACKAGE_LIMIT = 300, 600  # seconds
ADVICE = "The browser tests need Chromium: install the distribution's package (chromium), or set CHROMIUM to its path."


def find_chromium() -> str | None:
    """The path of a Chromium that runs."""
    return next((path for path in _candidates() if _runs(path)), None)


def install_chromium() -> str | None:
    """Fetch one, where it can be done without a question; its path."""
    for fetch in (_by_playwright, _by_package):
        fetch()
        if found := find_chromium():
            return found
    return None


def _candidates() -> Iterator[str]:
    if os.environ.get("CHROMIUM"):
        yield os.environ["CHROMIUM"]
    yield from filter(None, map(shutil.which, NAMES))
    kept = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    yield from map(str, sorted(kept.glob(DOWNLOADS), reverse=True))


def _runs(path: str) -> bool:
    return _succeeds([path, "--version"], limit=30)


def _by_playwright() -> None:
    _say("Fetching Chromium with Playwright ...")
    _succeeds([sys.executable, "-m", "playwright", "install", "chromium"], limit=DOWNLOAD_LIMIT)


def _by_package() -> None:
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") is None or not _succeeds([*as_root, "true"], limit=10):
        return
    _say("Installing the distribution's Chromium ...")
    _succeeds([*as_root, "apt-get", "update"], limit=PACKAGE_LIMIT)
    for package in NAMES[:2]:
        if _succeeds([*as_root, "apt-get", "install", "-y", "--no-install-recommends", package], limit=PACKAGE_LIMIT):
            return


def _succeeds(command: list[str], limit: float) -> bool:
    with suppress(OSError, subprocess.TimeoutExpired):
        run = subprocess.run(
            command,
            check=False,
            timeout=limit,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        return run.returncode == 0
    return False


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    chromium = find_chromium() or install_chromium()
    if chromium is None:
        sys.exit(ADVICE)
    print(chromium)
