"""A pytest plugin, loaded before Django's settings: the tests' own PostgreSQL, and an environment that names it.

The server is the embedded one, kept in .cache/tests between runs. With DATABASE_OWNER_URL set (and its companions), that
one is used instead; its role must be allowed to create databases.
"""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def _start() -> None:
    from approvals.db.embedded import EmbeddedPostgres
    from approvals.db.lodging import open_folder, place_for
    from approvals.db.roles import prepare_roles

    home = open_folder(Path(os.environ.get("GATEHOUSE_TEST_HOME", CHECKOUT / ".cache" / "tests")))
    server = EmbeddedPostgres(place_for(home / "postgres")).start()
    os.environ.update(prepare_roles(server, home))


if "DATABASE_OWNER_URL" not in os.environ:
    _start()
os.environ.update(
    DEBUG="1",
    SECRET_KEY="for tests only, and long enough not to be warned about",
    GATEHOUSE_PROCESS="owner",  # makes and drops the test database; FORCE binds it to row-level security all the same
    GATEHOUSE_DEMO_DELAY_MS="0",
    LOG_LEVEL="WARNING",
)
