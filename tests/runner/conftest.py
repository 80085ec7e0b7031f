"""One flush for a whole module: each test makes a tenant of its own, which row-level security keeps apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command

from tests.runner.workbench import Bench, Loop, loop_on_test_database


@pytest.fixture(scope="module")
def worker_loop(django_db_setup: None, django_db_blocker: Any) -> Iterator[Loop]:
    with django_db_blocker.unblock():
        with loop_on_test_database() as loop:
            yield loop
        call_command("flush", verbosity=0, interactive=False)


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
