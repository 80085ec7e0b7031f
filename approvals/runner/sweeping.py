"""What needs attention in any tenant: ids only, from functions that may see across tenants (migration 0002)."""

from __future__ import annotations

from uuid import UUID

from django.db import connection


def abandoned_threads(at_most: int) -> list[tuple[UUID, UUID]]:
    """(tenant, thread) of runs that some worker should be driving and none is."""
    return _ids("SELECT tenant_id, thread_id FROM abandoned_threads(%s)", at_most)


def overdue_requests(at_most: int) -> list[tuple[UUID, UUID]]:
    """(tenant, request) of questions that nobody answered in time."""
    return _ids("SELECT tenant_id, request_id FROM overdue_requests(%s)", at_most)


def _ids(query: str, at_most: int) -> list[tuple[UUID, UUID]]:
    with connection.cursor() as cursor:
        cursor.execute(query, [at_most])
        return [(tenant_id, other) for tenant_id, other in cursor.fetchall()]
