"""What tests of real processes share: waiting for something to be true, and folders that any account may enter."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 60.0  # seconds; a limit for a broken test, not an expectation


def wait_until(condition: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come to pass")


@contextmanager
def open_temporary_folder() -> Iterator[Path]:
    """pytest's own tmp_path is below a 0700 folder, which the account that root lends to PostgreSQL cannot enter."""
    folder = Path(mkdtemp(prefix="gatehouse-test-", dir="/tmp"))
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
