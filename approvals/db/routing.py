"""Operators' cross-tenant pages use their own database role; everything else stays bound to one tenant.

A request of an operator inside Django admin enters `across_tenants()`; the router then picks the `admin` alias, whose
role bypasses row-level security. Without DATABASE_ADMIN_URL there is no such alias, and admin pages show no tenant's rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.conf import settings

_across: ContextVar[bool] = ContextVar("across_tenants", default=False)


@contextmanager
def across_tenants() -> Iterator[None]:
    token = _across.set(True)
    try:
        yield
    finally:
        _across.reset(token)


class AcrossTenantsRouter:
    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "admin" if _across.get() and "admin" in settings.DATABASES else None

    db_for_write = db_for_read

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True  # both aliases are the same database

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db == "admin" else None
