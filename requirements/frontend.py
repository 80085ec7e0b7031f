"""Vendor what the browser gets: `python requirements/frontend.py` fetches, `--check` compares without a network.

Fetching goes through npm, which verifies the registry's sha512; the registry is npm's own setting, or $NPM_REGISTRY.
Nobody else needs Node: the files are in the repository, and the lock says what they must be.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WANTED = ROOT / "requirements/frontend.toml"
LOCK = ROOT / "requirements/frontend.lock.json"
VENDORED = ("static/vendor", "tests/browser/vendor")  # nothing else may lie in these folders
SOURCE_MAP = re.compile(rb"^//[#@] sourceMappingURL=.*\n?", re.MULTILINE)  # manifest storage fails on absent maps


class Mismatch(Exception):
    """A vendored file, or a fetched package, is not what the lock says."""


def wanted() -> dict[str, Any]:
    return tomllib.loads(WANTED.read_text())


def locked() -> dict[str, Any]:
    locks: dict[str, Any] = json.loads(LOCK.read_text()) if LOCK.exists() else {}
    return locks


def write_lock(changes: dict[str, Any]) -> None:
    LOCK.write_text(json.dumps(locked() | changes, indent=2, sort_keys=True) + "\n")


def fetch(name: str, version: str) -> tuple[dict[str, bytes], str]:
    """Return the files of one published package and its integrity. The same version may never change."""
    registry = [f"--registry={os.environ['NPM_REGISTRY']}"] if os.environ.get("NPM_REGISTRY") else []
    with tempfile.TemporaryDirectory() as folder:
        pack = ["npm", "pack", f"{name}@{version}", "--ignore-scripts", "--silent", f"--pack-destination={folder}"]
        subprocess.run([*pack, *registry], check=True, stdout=subprocess.DEVNULL)
        tarball = next(Path(folder).iterdir()).read_bytes()
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    before = locked().get(name, {})
    if before.get("version") == version and before["integrity"] != integrity:
        raise Mismatch(f"{name} {version} is not the package that was locked")
    return unpack(tarball), integrity


def unpack(tarball: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(tarball)) as archive:
        members = [(member, archive.extractfile(member)) for member in archive if member.isfile()]
        return {member.name.removeprefix("package/"): content.read() for member, content in members if content}


def describe(path: str) -> dict[str, Any]:
    content = (ROOT / path).read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def vendor(package: dict[str, Any]) -> dict[str, Any]:
    """Write one package's files and return its lock entry."""
    content, integrity = fetch(package["name"], package["version"])
    for source, target in package["files"].items():
        data = SOURCE_MAP.sub(b"", content[source]) if target.endswith(".js") else content[source]
        (ROOT / target).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / target).write_bytes(data)
    files = {target: describe(target) for target in package["files"].values()}
    return {"version": package["version"], "licence": package["licence"], "integrity": integrity, "files": files}


def problems() -> list[str]:
    """Say what differs from the lock: a version, a changed or missing file, a file nobody asked for."""
    locks, toml = locked(), wanted()
    packages = [*toml["package"], toml["icons"] | {"name": toml["icons"]["package"]}]
    found = [
        f"{package['name']}: the lock is not for {package['version']}"
        for package in packages
        if locks.get(package["name"], {}).get("version") != package["version"]
    ]
    expected = {path: facts for lock in locks.values() for path, facts in lock["files"].items()}
    for path, facts in expected.items():
        if not (ROOT / path).is_file():
            found.append(f"{path}: missing")
        elif describe(path) != facts:
            found.append(f"{path}: changed")
    present = {
        str(file.relative_to(ROOT)) for folder in VENDORED for file in (ROOT / folder).rglob("*") if file.is_file()
    }
    return found + [f"{path}: not in the lock" for path in sorted(present - expected.keys())]


def main() -> int:
    if "--check" in sys.argv:
        found = problems()
        print("\n".join(found) or "vendored files are as locked")
        return 1 if found else 0
    write_lock({package["name"]: vendor(package) for package in wanted()["package"]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
