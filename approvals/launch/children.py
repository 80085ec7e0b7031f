"""The processes that the launcher starts, watches and starts again."""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import IO

from approvals.launch.console import Console
from approvals.launch.options import CHECKOUT

PR_SET_PDEATHSIG = 1
SHORTEST_WAIT, LONGEST_WAIT = 0.25, 10.0  # seconds before a dead child is started again
STEADY = 10.0  # seconds of life after which an earlier death counts no more
libc = ctypes.CDLL(None)


def spawn(command: tuple[str, ...], environment: Mapping[str, str], output: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a child that cannot outlive us, and that Ctrl-C in the terminal reaches through us alone."""
    return subprocess.Popen(
        command,
        cwd=CHECKOUT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=partial(_die_with, os.getpid()),  # safe: the launcher has a single thread
    )


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        # As in a power cut, for which all of them are built: a polite signal could leave one holding the port.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)


@dataclass
class Child:
    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    deaths: int = 0  # in a row
    last_line: str = ""
    process: subprocess.Popen[bytes] | None = None
    _started: float = 0.0
    _start_at: float = 0.0
    _unfinished_line: bytes = field(default=b"", repr=False)

    def due(self) -> bool:
        return self.process is None and time.monotonic() >= self._start_at

    def start(self) -> IO[bytes]:
        self.process = spawn(self.command, self.environment, subprocess.PIPE)
        self._started = time.monotonic()
        assert self.process.stdout is not None
        return self.process.stdout

    def has_died(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def bury(self) -> float:
        """Forget the dead process; return the seconds until the next one."""
        lived = time.monotonic() - self._started
        self.deaths = 1 if lived > STEADY else self.deaths + 1
        wait = min(SHORTEST_WAIT * 2.0 ** (self.deaths - 1), LONGEST_WAIT)
        self.process, self._start_at = None, time.monotonic() + wait
        return wait

    def lines(self, chunk: bytes) -> list[str]:
        *whole, self._unfinished_line = (self._unfinished_line + chunk).split(b"\n")
        found = [line.decode(errors="replace").rstrip() for line in whole]
        self.last_line = next((line for line in reversed(found) if line), self.last_line)
        return found


class Children:
    def __init__(self, console: Console, remember: Callable[[list[int]], None]) -> None:
        self._console = console
        self._remember = remember
        self._children: list[Child] = []
        self._outputs = selectors.DefaultSelector()

    def add(self, child: Child) -> Child:
        self._children.append(child)
        self._start(child)
        return child

    def tend(self, seconds: float) -> None:
        """Pass on what the children say for so long; start again whoever died."""
        self._pass_on_output(seconds)
        for child in self._children:
            if child.has_died():
                self._explain_death(child)
            if child.due():
                self._start(child)

    def stop(self, patience: float, impatient: Callable[[], bool]) -> None:
        """Ask all to end; after `patience` seconds, or when the operator insists, end them."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + patience
        while self._running() and time.monotonic() < deadline and not impatient():
            self._pass_on_output(0.05)
        self._signal(signal.SIGKILL)
        for process in self._running():
            process.wait()
        self._pass_on_output(0)
        self._children.clear()

    def _start(self, child: Child) -> None:
        try:
            self._outputs.register(child.start(), selectors.EVENT_READ, child)
        except OSError as error:  # no memory, no more processes
            wait = child.bury()
            self._console.say(f"{child.name} cannot be started ({error.strerror}); trying again in {wait:.2g} s.")
        self._remember([process.pid for process in self._running()])

    def _explain_death(self, child: Child) -> None:
        assert child.process is not None
        self._pass_on_output(0)
        code = child.process.returncode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        self._console.say(f"{child.name} {how}; starting it again in {child.bury():.2g} s.")

    def _running(self) -> list[subprocess.Popen[bytes]]:
        return [each.process for each in self._children if each.process is not None and each.process.poll() is None]

    def _signal(self, number: signal.Signals) -> None:
        for process in self._running():
            process.send_signal(number)

    def _pass_on_output(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            ready = self._outputs.select(max(deadline - time.monotonic(), 0)) if self._outputs.get_map() else []
            for key, _ in ready:
                self._read(key)
            if time.monotonic() >= deadline:
                return
            if not self._outputs.get_map():
                time.sleep(max(deadline - time.monotonic(), 0))

    def _read(self, key: selectors.SelectorKey) -> None:
        child: Child = key.data
        chunk = os.read(key.fd, 65536)
        for line in child.lines(chunk or b"\n"):
            if chunk or line:
                self._console.say(f"{child.name} | {line}")
        if not chunk:
            self._outputs.unregister(key.fileobj)
            os.close(key.fd)
