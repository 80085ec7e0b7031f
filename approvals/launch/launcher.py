"""From nothing to a running Gatehouse, and back."""

from __future__ import annotations

import errno
import http.client
import os
import re
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from approvals.launch.children import Child, Children, spawn
from approvals.launch.console import Console
from approvals.launch.database import BroughtDatabase, Database, EmbeddedDatabase, without_secrets
from approvals.launch.home import Home
from approvals.launch.options import Commands, LaunchProblem, Options

PATIENCE = 15.0  # seconds for web and workers to end; uvicorn takes up to 5 for open requests
MOST_EARLY_DEATHS = 3  # of the web process before it ever answered
ERROR_LINE = re.compile(r"^\w*[a-z][\w.]*: \S")  # the last line of a traceback, but not PostgreSQL's HINT or DETAIL
DEMO_PASSWORD = "gatehouse-demo"  # noqa: S105  # printed for everyone, and made only while DEBUG is on
DEMO_PEOPLE = (  # keep in step with seed_demo
    ("member@acme.example", "chats with agents"),
    ("reviewer@acme.example", "decides what agents may do"),
    ("reviewer2@acme.example", "decides as well"),
    ("admin@acme.example", "decides, and puts agents or tools on hold"),
    ("auditor@acme.example", "reads everything"),
    ("member@globex.example", "chats in another tenant"),
    ("reviewer@globex.example", "decides in another tenant"),
)
OPERATOR = "operator@gatehouse.example"


class Stopped(Exception):
    """The operator wants to stop before everything runs."""


class StopSignals:
    """Ctrl-C, `kill` and a closed terminal; the second one insists."""

    def __init__(self) -> None:
        self.received = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received += 1

    def insist(self) -> bool:
        return self.received > 1


class Launcher:
    def __init__(self, options: Options, commands: Commands, console: Console) -> None:
        self._options = options
        self._commands = commands
        self._console = console
        self._signals = StopSignals()

    def run(self) -> None:
        with suppress(Stopped), ExitStack() as stack:
            home = Home(self._options.home)
            stack.enter_context(home.claimed(self._options.address))
            self._stop_leftovers(home)
            refuse_taken_port(self._options)
            database = self._open_database(home, stack)
            additions = {"SECRET_KEY": self._options.value("SECRET_KEY") or home.secret_key(), **database.urls}
            self._prepare(home, additions)
            children = Children(self._console, home.remember_children)
            stack.callback(children.stop, PATIENCE, self._signals.insist)
            stack.callback(self._console.say, "Stopping.")
            web = self._start(children, additions)
            self._wait_until_ready(web, children, database)
            self._announce()
            while not self._signals.received:
                self._tend(children, database)
        self._console.say("Stopped.")

    def _stop_leftovers(self, home: Home) -> None:
        """What a killed launcher left, where the kernel did not end it with its parent."""
        leftovers = home.leftovers()
        for how, patience in ((signal.SIGTERM, 3), (signal.SIGKILL, 5)):
            for pid in home.leftovers():
                with suppress(ProcessLookupError):
                    os.kill(pid, how)
            deadline = time.monotonic() + patience
            while home.leftovers() and time.monotonic() < deadline:
                time.sleep(0.05)
        if leftovers:
            numbers = ", ".join(map(str, leftovers))
            self._console.say(f"Ended what a killed launcher had left running: process {numbers}.")

    def _open_database(self, home: Home, stack: ExitStack) -> Database:
        if self._options.value("DATABASE_URL"):
            return BroughtDatabase(self._options.urls())
        database = EmbeddedDatabase(home, self._console)
        stack.callback(database.stop)
        stack.enter_context(home.urls_written(database.urls))
        return database

    def _prepare(self, home: Home, additions: dict[str, str]) -> None:
        environment = self._options.environment_of("owner", additions)
        self._run_step("migrate", "Bringing the tables up to date", self._commands.migrate, environment, home)
        if self._options.debug:
            self._run_step("seed_demo", "Filling in the demo", self._commands.seed, environment, home)
        else:
            self._run_step("collectstatic", "Collecting static files", self._commands.static, environment, home)

    def _run_step(
        self, name: str, title: str, command: tuple[str, ...], environment: dict[str, str], home: Home
    ) -> None:
        log = home.log(name)
        with log.open("wb") as output:
            process = spawn(command, environment, output)
        home.remember_children([process.pid])
        began = time.monotonic()
        while process.poll() is None:
            if self._signals.received:
                end(process)
                raise Stopped
            self._console.show(title)
            time.sleep(0.05)
        if process.returncode:
            reason = without_secrets(error_in(log), [url for url in environment.values() if "://" in url])
            raise LaunchProblem(f"{title} failed: {reason} (the log is {log}).")
        self._console.say(f"{title}: done ({time.monotonic() - began:.1f} s).")

    def _start(self, children: Children, additions: dict[str, str]) -> Child:
        environment = self._options.environment_of("web", additions)
        web = children.add(Child("web", self._commands.web, environment))
        environment = self._options.environment_of("worker", additions)
        for number in range(1, self._options.workers + 1):
            name = "worker" if self._options.workers == 1 else f"worker {number}"
            children.add(Child(name, self._commands.worker, environment))
        return web

    def _tend(self, children: Children, database: Database) -> None:
        children.tend(0.25)
        database.tend()

    def _wait_until_ready(self, web: Child, children: Children, database: Database) -> None:
        slow = time.monotonic() + 60
        while (status := answer_of(f"{self._options.address}/readyz")) != "200":
            if self._signals.received:
                raise Stopped
            self._console.show("Starting web and worker")
            self._tend(children, database)
            if web.deaths >= MOST_EARLY_DEATHS:
                raise LaunchProblem(f"The web process does not start: {web.last_line or 'it says nothing'}.")
            if time.monotonic() > slow:
                slow += 60
                self._console.say(f"Still waiting for {self._options.address}/readyz ({status}).")

    def _announce(self) -> None:
        lines = ["", f"Gatehouse runs at {self._options.address}/ (Ctrl-C stops it)."]
        if self._options.debug:
            lines += ["", f"Sign in with the password {DEMO_PASSWORD} as"]
            lines += [f"  {address:<26}  {what}" for address, what in DEMO_PEOPLE]
            lines += [f"  {OPERATOR:<26}  runs the installation: {self._options.address}/admin/"]
        self._console.say("\n".join([*lines, ""]))


def refuse_taken_port(options: Options) -> None:
    """Raise LaunchProblem unless the web process will be able to listen where it is told to."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn: not refused by a past connection
            probe.bind(where)
    except OSError as error:
        port = f"Port {options.port} of {options.host}"
        if error.errno == errno.EADDRINUSE:
            raise LaunchProblem(f"{port} is taken by another program; choose another one, as in PORT=8080.") from None
        raise LaunchProblem(f"{port} cannot be used ({error.strerror}).") from None


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def answer_of(url: str) -> str:
    """The status of the answer, or why there is none."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2)
    try:
        connection.request(
            "GET", parts.path, headers={"Host": os.environ.get("ALLOWED_HOSTS", "").split(",")[0] or parts.netloc}
        )
        return str(connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()


def error_in(log: Path) -> str:
    lines = [line.rstrip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if ERROR_LINE.match(line)]
    return (errors or lines or ["it said nothing"])[-1].strip().rstrip(".")
