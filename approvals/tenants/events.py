from __future__ import annotations

from uuid import UUID

from approvals.db.publishing import publish_on_commit


def tenant_group(tenant_id: UUID) -> str:
    return f"tenant.{tenant_id}"


def publish_tenant(tenant_id: UUID) -> None:
    """Every open page of the tenant asks again."""
    publish_on_commit(tenant_group(tenant_id), "tenant.changed")
