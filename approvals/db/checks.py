"""The process refuses to start with a role that row-level security does not bind."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import OperationalError, connections

log = logging.getLogger(__name__)

FACTS = """
SELECT rolsuper OR rolbypassrls,
       EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind = 'r' AND c.relrowsecurity AND c.relowner = r.oid)
  FROM pg_roles r WHERE rolname = current_user
"""


class UnsafeRole(RuntimeError):
    """This process must not run with a database role that owns the tables or passes by row-level security."""


def refuse_unsafe_role(using: str = "default") -> None:
    """Raise UnsafeRole where the runtime role is a superuser, has BYPASSRLS, or owns tenants' tables."""
    with connections[using].cursor() as cursor:
        cursor.execute(FACTS)
        unbound, owner = cursor.fetchone()
    user = connections[using].settings_dict["USER"]
    if unbound:
        raise UnsafeRole(f"The database role {user!r} bypasses row-level security; see approvals/db/roles.sql.")
    if owner:
        raise UnsafeRole(f"The database role {user!r} owns the tables; set DATABASE_OWNER_URL to the owner's address.")


def refuse_unsafe_role_at_start() -> None:
    """The same for a web process: a database that is away just now is its readiness page's news, not a reason to end."""
    if settings.PROCESS == "owner":
        return
    try:
        refuse_unsafe_role()
    except OperationalError:
        log.warning("the database does not answer yet")


@register(Tags.database)
def runtime_role_is_bound(app_configs: Any, databases: Sequence[str] | None, **_: Any) -> list[CheckMessage]:
    if settings.PROCESS == "owner" or "default" not in (databases or ()):
        return []
    try:
        refuse_unsafe_role()
    except UnsafeRole as unsafe:
        return [Error(str(unsafe), id="gatehouse.E001")]
    return []
