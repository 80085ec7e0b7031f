"""The database behind this start: the operator's own, or the embedded one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo

from approvals.db.embedded import EmbeddedPostgres
from approvals.db.lodging import EmbeddedPostgresError, place_for
from approvals.db.roles import prepare_roles
from approvals.launch.console import Console
from approvals.launch.home import Home
from approvals.launch.options import LaunchProblem

SCHEMES = {"postgresql", "postgres", "pgsql", "psql"}  # as django-environ reads them


class Database(Protocol):
    @property
    def urls(self) -> Mapping[str, str]: ...
    def tend(self) -> None: ...
    def stop(self) -> None: ...


class BroughtDatabase:
    """Somebody else runs it; we only make sure that it is there."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self.urls = urls
        for name, url in urls.items():
            refuse_unreachable(name, url)

    def tend(self) -> None:
        pass

    def stop(self) -> None:
        pass


class EmbeddedDatabase:
    def __init__(self, home: Home, console: Console) -> None:
        self._console = console
        self._try_again_at = 0.0
        wanted = home.path / "postgres"
        place = place_for(wanted)
        if place != wanted.resolve():
            console.say(f"PostgreSQL's account may not enter {home.path}, so its data are in {place}.")
        console.show("Starting PostgreSQL")
        began = time.monotonic()
        self._server = EmbeddedPostgres(place).start()
        try:
            self.urls = prepare_roles(self._server, home.path)
        except BaseException:
            self._server.release()
            raise
        console.say(f"PostgreSQL runs ({time.monotonic() - began:.1f} s).")

    def tend(self) -> None:
        """Start the server again if it died; while it cannot start (a full disk), try now and then."""
        if time.monotonic() < self._try_again_at:
            return
        if not self._server.root.exists():
            raise LaunchProblem(f"{self._server.root} was removed while Gatehouse ran.")
        try:
            if self._server.revive():
                self._console.say("PostgreSQL had ended; it runs again.")
        except (EmbeddedPostgresError, OSError) as problem:
            self._console.say(f"{problem} Trying again in 5 s.")
            self._try_again_at = time.monotonic() + 5

    def stop(self) -> None:
        self._server.release()


def refuse_unreachable(name: str, url: str) -> None:
    """Raise LaunchProblem, without the password, unless a connection can be made."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise ValueError
        connection = _connection_parameters(parts)
    except ValueError:  # whose text may hold half a password
        raise LaunchProblem(
            f"{name} is not the address of a PostgreSQL database (postgresql://role:password@host/database; "
            "special characters in the password are written as %40 and the like)."
        ) from None
    try:
        psycopg.connect(make_conninfo(**connection), connect_timeout=5).close()
    except psycopg.Error as error:
        where = f"{connection.get('host', 'the local socket')}:{connection.get('port', 5432)}"
        reason = without_secrets(_reason(error), [url])
        raise LaunchProblem(f"{name}: cannot use the database at {where} ({reason}).") from None


def without_secrets(text: str, urls: list[str]) -> str:
    for url in urls:
        password = urlsplit(url).password
        for secret in (password, unquote(password)) if password else ():
            text = text.replace(secret, "***")
    return text


def _connection_parameters(parts: SplitResult) -> dict[str, str]:
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    found = {
        "host": unquote(parts.hostname or ""),
        "port": str(parts.port or ""),
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "dbname": unquote(parts.path.lstrip("/")),
        # Other options of the query are Django's.
        **{name: value for name, value in parse_qsl(parts.query) if name in known},
    }
    return {name: value for name, value in found.items() if value}


def _reason(error: psycopg.Error) -> str:
    first = str(error).strip().splitlines()[0]
    return first.rpartition("failed: ")[2].removeprefix("FATAL:").strip().rstrip(".")
