"""The product as it runs: a database of its own, a web process and workers in processes of their own.

For tests that kill, race or look with a browser. Nothing in it is faked but time: leases last a second.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import httpx
import psycopg
from psycopg.rows import dict_row

CHECKOUT = Path(__file__).resolve().parent.parent
PASSWORD = "gatehouse-demo"
URLS = ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_WORKER_URL", "DATABASE_ADMIN_URL")
T = TypeVar("T")


def eventually(look: Callable[[], T], *, seconds: float = 20, what: str = "") -> T:
    """The first true answer; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or look}")
        time.sleep(0.03)
    return found


class Person(httpx.Client):
    """A signed-in person, over HTTP alone, as a browser without scripts."""

    def __init__(self, stack: Stack, email: str) -> None:
        super().__init__(base_url=stack.url, follow_redirects=False, timeout=30)
        self.email = email
        self.stack = stack
        self.get("/accounts/login/")
        answer = self.submit("/accounts/login/", login=email, password=PASSWORD)
        assert answer.status_code == 302, answer.text

    def submit(self, path: str, **fields: Any) -> httpx.Response:
        data = {**fields, "csrfmiddlewaretoken": self.cookies["csrftoken"]}
        return self.post(path, data=data, headers={"Origin": str(self.base_url).rstrip("/")})

    def start(self, text: str, *, agent: str = "Support desk", tenant: str = "acme") -> str:
        """Begin a conversation; returns its id."""
        answer = self.submit(f"/t/{tenant}/chat/", agent=self.stack.agent_id(tenant, agent), text=text)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"].rstrip("/").rsplit("/", 1)[1]


class Stack:
    """One installation. `start()` it once; kill and start its processes as the test wants."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.database = f"gatehouse_stack_{uuid4().hex[:12]}"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            **{name: _with_database(os.environ[name], self.database) for name in URLS},
            "LEASE_SECONDS": "1",
            "SWEEP_SECONDS": "1",
            **(environment or {}),
        }
        self.web: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self._people: dict[str, Person] = {}

    def start(self, *, workers: int = 1) -> Stack:
        with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
            owner.execute(f'CREATE DATABASE "{self.database}"')
        for command in ("migrate", "seed_demo"):
            self.manage(command)
        self._let_tests_read_the_shop()
        self.start_web()
        for _ in range(workers):
            self.start_worker()
        eventually(self._is_ready, seconds=60, what="/readyz answers 200")
        return self

    def stop(self) -> None:
        for person in self._people.values():
            person.close()
        for process in [*self.workers, *([self.web] if self.web else [])]:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
            owner.execute(f'DROP DATABASE IF EXISTS "{self.database}" WITH (FORCE)')

    def manage(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=CHECKOUT,
            env={**self.environment, "GATEHOUSE_PROCESS": "owner"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start_web(self) -> None:
        server = ["-m", "uvicorn", "approvals.asgi:application", "--port", str(self.port), "--no-access-log"]
        self.web = self._spawn("web", [*server, "--ws", "websockets-sansio", "--timeout-graceful-shutdown", "2"])

    def start_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        worker = self._spawn("worker", ["manage.py", "worker"], **environment)
        self.workers.append(worker)
        return worker

    def kill_workers(self, how: signal.Signals = signal.SIGKILL) -> None:
        for worker in self.workers:
            worker.send_signal(how)
            worker.wait()
        self.workers.clear()

    def person(self, email: str) -> Person:
        """The person, signed in once for all tests of this stack."""
        if email not in self._people:
            self._people[email] = Person(self, email)
        return self._people[email]

    def agent_id(self, tenant: str, name: str) -> str:
        query = """SELECT a.id::text AS id FROM conversations_agent a JOIN tenants_tenant t ON t.id = a.tenant_id
                   WHERE t.slug = %s AND a.name = %s"""
        return str(self.row(query, tenant, name)["id"])

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Across tenants, as the operators' role."""
        with psycopg.connect(self.environment["DATABASE_ADMIN_URL"], row_factory=dict_row, autocommit=True) as admin:
            return admin.execute(query, values).fetchall()

    def row(self, query: str, *values: Any) -> dict[str, Any]:
        [found] = self.rows(query, *values)
        return found

    def run_of(self, conversation: str) -> dict[str, Any]:
        """The newest run of a conversation."""
        return self.row(
            "SELECT * FROM conversations_run WHERE conversation_id = %s ORDER BY position DESC LIMIT 1", conversation
        )

    def settled(self, conversation: str, *, seconds: float = 20) -> dict[str, Any]:
        """The newest run, when it waits or has ended."""
        return self.until(conversation, "waiting", "succeeded", "failed", "stuck", "cancelled", seconds=seconds)

    def until(self, conversation: str, *statuses: str, seconds: float = 20) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            run = self.run_of(conversation)
            return run if run["status"] in statuses else None

        return eventually(look, seconds=seconds, what=f"run of {conversation} is {statuses}")

    def requests(self, conversation: str) -> list[dict[str, Any]]:
        query = "SELECT * FROM reviews_reviewrequest WHERE conversation_id = %s AND status = 'pending' ORDER BY number"
        return self.rows(query, conversation)

    def log(self, name: str) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob(f"{name}-*.log")))

    def _spawn(self, name: str, command: list[str], **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}-{uuid4().hex[:8]}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=CHECKOUT,
                env={**self.environment, "GATEHOUSE_PROCESS": name, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _let_tests_read_the_shop(self) -> None:
        with psycopg.connect(self.environment["DATABASE_OWNER_URL"], autocommit=True) as owner:
            owner.execute("GRANT USAGE ON SCHEMA shop TO gatehouse_admin")
            owner.execute("GRANT SELECT ON ALL TABLES IN SCHEMA shop TO gatehouse_admin")

    def _is_ready(self) -> bool:
        for process in [*self.workers, self.web]:
            assert process is None or process.poll() is None, self.log("web") + self.log("worker")
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def running(folder: Path, *, workers: int = 1, **environment: str) -> Iterator[Stack]:
    stack = Stack(folder, environment)
    try:
        yield stack.start(workers=workers)
    finally:
        stack.stop()


def decide(
    person: Person, review: Mapping[str, Any], verdict: str, *, tenant: str = "acme", **fields: Any
) -> httpx.Response:
    """Send one verdict as the detail page's form does."""
    digest = fields.pop("digest", review["digest"])
    path = f"/t/{tenant}/queue/{review['id']}/decide/"
    return person.submit(path, verdict=verdict, digest=digest, **fields)


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
