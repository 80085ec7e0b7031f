"""What Linux says about a process, for those who must not mistake a zombie or a stranger for it.

A bare process id proves nothing: ids are used again, and the zombie of a killed process answers
`kill(pid, 0)` until its parent reaps it, which a container's process 1 may never do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
STATE, STARTED = 0, 19  # places in /proc/<pid>/stat, counted after the parenthesised name


def started_at(pid: int) -> int | None:
    """Clock ticks after boot at which a running process began; None when it is gone or a zombie."""
    fields = _stat(pid)
    return int(fields[STARTED]) if fields and fields[STATE] not in "ZX" else None


def arguments(pid: int) -> list[str]:
    """The command line of a running process, readable across accounts; empty when it is gone."""
    if started_at(pid) is None:
        return []
    with suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_text(errors="surrogateescape").split("\0")[:-1]
    return []


def working_in(directory: Path) -> Iterator[int]:
    """Every running process that has `directory` as its own, as far as we may see."""
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # gone meanwhile, or another account's
                if os.readlink(entry / "cwd") == str(directory) and started_at(int(entry.name)) is not None:
                    yield int(entry.name)


def boot_id() -> str:
    """Start times are counted from boot, so they identify a process within one boot only."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str]:
    try:
        return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
