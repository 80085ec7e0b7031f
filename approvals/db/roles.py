"""The roles of the embedded server: roles.sql, run by the psql of the same wheel, with passwords made here."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from pathlib import Path

from approvals.db.embedded import ENVIRONMENT, EmbeddedPostgres, write_private
from approvals.db.lodging import EmbeddedPostgresError, programs

STATEMENTS = Path(__file__).with_name("roles.sql")
DATABASE = "gatehouse"
URLS = {  # the environment's name for it: the role, as roles.sql has it
    "DATABASE_URL": "web",
    "DATABASE_OWNER_URL": "owner",
    "DATABASE_WORKER_URL": "worker",
    "DATABASE_ADMIN_URL": "admin",
}


def prepare_roles(server: EmbeddedPostgres, kept_in: Path) -> dict[str, str]:
    """Make the roles and the database, or repair them; return the URLs by the names settings know. Safe to repeat."""
    passwords = _passwords(kept_in / "role_passwords.json")
    _run_statements(server, passwords)
    return {
        name: server.url(user=f"gatehouse_{role}", password=passwords[role], database=DATABASE)
        for name, role in URLS.items()
    }


def _passwords(kept: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(kept.read_text())
    except (FileNotFoundError, ValueError):
        found = {}
    if not found.keys() >= set(URLS.values()):
        found = {role: secrets.token_urlsafe(24) for role in URLS.values()}
        write_private(kept, json.dumps(found))
    return found


def _run_statements(server: EmbeddedPostgres, passwords: dict[str, str]) -> None:
    # On standard input: arguments of a process are for everyone to read. The passwords have no quotes in them.
    settings = "".join(f"\\set {role}_password '{password}'\n" for role, password in passwords.items())
    result = subprocess.run(  # noqa: S603  # nothing of it comes from outside
        [programs() / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1"],
        input=settings + STATEMENTS.read_text(),
        check=False,
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, **server.superuser_environment(), "HOME": os.devnull},
        start_new_session=True,
    )
    if result.returncode:
        raise EmbeddedPostgresError(f"The database roles could not be made: {result.stderr.strip().splitlines()[-1]}")
