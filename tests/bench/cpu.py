"""CPU time of processes, from /proc: what a step costs does not depend on how busy the machine is with others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import psycopg

PARENT, OWN = 1, slice(11, 13)  # places in /proc/<pid>/stat, counted after the parenthesised name
OF_ENDED_CHILDREN = slice(13, 15)
TICKS = os.sysconf("SC_CLK_TCK")  # a second


class Meter:
    """CPU seconds of the web process, the worker, this client, the database server and everybody since `start()`."""

    def __init__(self, web: int, worker: int, server: int) -> None:
        self._web, self._worker, self._server = web, worker, server
        self.start()

    def start(self) -> None:
        self._before = self._read()

    def since(self) -> Mapping[str, float]:
        return {name: now - self._before[name] for name, now in self._read().items()}

    def _read(self) -> dict[str, float]:
        return {
            "web": _seconds(self._web, OWN),
            "worker": _seconds(self._worker, OWN),
            "client": _seconds(os.getpid(), OWN),
            "database": _of_server(self._server),
            "everybody": _of_machine(),
        }


def server_pid(url: str) -> int:
    """The database server's main process, the parent of every connection's."""
    with psycopg.connect(url) as connection:
        return int(_stat(connection.info.backend_pid)[PARENT])


def _of_server(main: int) -> float:
    """Its own, its living children's, and what it waited for of those that ended."""
    living = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    children = sum(_seconds(pid, OWN) for pid in living if (stat := _stat(pid)) and int(stat[PARENT]) == main)
    return children + _seconds(main, OWN) + _seconds(main, OF_ENDED_CHILDREN)


def _of_machine() -> float:
    user, nice, system, _idle, _waiting, *interrupts = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:8]
    )
    return (user + nice + system + sum(interrupts)) / TICKS


def _seconds(pid: int, which: slice) -> float:
    return sum(map(int, _stat(pid)[which])) / TICKS


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:  # ended meanwhile
        return []
