"""A database of its own for tests that need real commits: each test makes a tenant, and row-level security keeps them apart.

Emptying every table after each test, as `transactional_db` does, took longer than the tests.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections

from tests.runner.workbench import Bench, Loop, loop_on


@pytest.fixture(scope="session")
def bench_database(django_test_environment: None, django_db_blocker: Any) -> Iterator[str]:
    name = f"gatehouse_bench_{uuid4().hex[:12]}"
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute(f'CREATE DATABASE "{name}"')
        owner.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')  # nobody pulls the plug here
    with django_db_blocker.unblock(), _connected_to(name):
        call_command("migrate", verbosity=0, interactive=False)
    yield name
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def worker_loop(bench_database: str, django_db_blocker: Any) -> Iterator[Loop]:
    with django_db_blocker.unblock(), _connected_to(bench_database), loop_on(bench_database) as loop:
        yield loop


class _connected_to:
    """Django's default connection, in every thread, to this database."""

    def __init__(self, name: str) -> None:
        self.settings = connections.settings["default"]
        self.name, self.before = name, self.settings["NAME"]

    def __enter__(self) -> None:
        connections["default"].close()
        self.settings["NAME"] = self.name

    def __exit__(self, *_: object) -> None:
        connections["default"].close()
        self.settings["NAME"] = self.before


@pytest.fixture
def make_bench(worker_loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    """Live pages have tests of their own; here nobody listens."""
    monkeypatch.setattr("approvals.db.publishing._publish", lambda group, message: None)

    def make(**settings: Any) -> Bench:
        return Bench(worker_loop, **settings)

    return make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()
