"""$GATEHOUSE_HOME: what one installation keeps beside its database, and the claim of one launcher to it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from approvals.db import processes
from approvals.db.embedded import write_private
from approvals.db.lodging import open_folder
from approvals.launch.options import LaunchProblem


class Home:
    def __init__(self, path: Path) -> None:
        self.path = open_folder(path)
        self._urls = path / "urls.env"
        self._children = path / "children.json"

    @contextmanager
    def claimed(self, address: str) -> Iterator[None]:
        """Hold the home alone. A lock of the kernel's, so that a killed launcher leaves no claim behind."""
        with (self.path / "launch.lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise LaunchProblem(
                    f"Gatehouse runs already from {self.path}: {lock.read().strip() or 'it is just starting'}. "
                    "Stop it first, or give a second one its own GATEHOUSE_HOME and PORT."
                ) from None
            lock.truncate(0)
            lock.write(f"{address} (process {os.getpid()})\n")
            lock.flush()
            yield

    def secret_key(self) -> str:
        kept = self.path / "secret_key"
        if not kept.exists():
            write_private(kept, secrets.token_urlsafe(48))
        return kept.read_text().strip()

    def log(self, name: str) -> Path:
        path = open_folder(self.path / "logs") / f"{name}.log"
        path.touch(mode=0o600)
        return path

    @contextmanager
    def urls_written(self, urls: Mapping[str, str]) -> Iterator[None]:
        """For people and tools beside us: `. .gatehouse/urls.env`. Gone when we are."""
        write_private(self._urls, "".join(f"{name}={shlex.quote(url)}\n" for name, url in urls.items()))
        try:
            yield
        finally:
            self._urls.unlink(missing_ok=True)

    def remember_children(self, pids: list[int]) -> None:
        started = {pid: at for pid in pids if (at := processes.started_at(pid)) is not None}
        with suppress(OSError):  # a second belt only: on a full disk the kernel still ends them with us
            write_private(self._children, json.dumps({"boot": processes.boot_id(), "started": started}))

    def leftovers(self) -> list[int]:
        """Children of an earlier launcher that still run: the same number and the same moment of birth."""
        try:
            kept = json.loads(self._children.read_text())
            remembered = {int(pid): int(at) for pid, at in kept["started"].items()}
        except (FileNotFoundError, ValueError, KeyError):
            return []
        if kept["boot"] != processes.boot_id():
            return []
        return [pid for pid, at in remembered.items() if processes.started_at(pid) == at]
