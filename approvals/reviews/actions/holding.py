"""Hold everything, an agent, or a tool: from the commit on no claim succeeds and no run starts, until it is lifted.

People go on deciding; executing waits. The hold takes the tenant's gate lock that every claim holds shared, so it waits
for claims under way, and every later claim sees it.
"""

from __future__ import annotations

from django.db import connection, transaction
from django.db.models.functions import Now

from approvals.audit.actions import record
from approvals.calls.models import CallStatus, ToolCall
from approvals.conversations.actions import queue_run
from approvals.conversations.events import wake_runner
from approvals.conversations.models import Agent, Hold, Run, RunStatus
from approvals.tenants.events import publish_tenant
from approvals.tenants.models import Tenant, User

GATE_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('gate ' || %s::text, 0))"  # keep in step with runner.ledger


@transaction.atomic(durable=True)
def place_hold(*, tenant: Tenant, by: User, reason: str, agent: Agent | None = None, tool_name: str = "") -> Hold:
    with connection.cursor() as cursor:
        cursor.execute(GATE_LOCK, [tenant.pk])
    hold = Hold.objects.create(tenant=tenant, agent=agent, tool_name=tool_name, reason=reason, placed_by=by)
    record("hold.placed", tenant_id=tenant.pk, subject_id=hold.pk, actor="person", actor_id=by.pk, scope=hold.scope)
    publish_tenant(tenant.pk)
    return hold


@transaction.atomic(durable=True)
def lift_hold(*, hold: Hold, by: User) -> None:
    """Lift it, and wake what waited for that: queued runs, and paused ones whose approved call found the gate shut."""
    with connection.cursor() as cursor:
        cursor.execute(GATE_LOCK, [hold.tenant_id])  # no run is being suspended because of it while we look
    if not Hold.objects.filter(pk=hold.pk, lifted_at=None).update(lifted_at=Now(), lifted_by=by):
        return
    for run in Run.objects.filter(status=RunStatus.QUEUED):
        wake_runner(run)
    shut_out = (CallStatus.APPROVED, CallStatus.ALLOWED, CallStatus.EXECUTING)
    held = ToolCall.objects.filter(status__in=shut_out, run__status=RunStatus.WAITING)
    for run in Run.objects.locked().filter(pk__in=held.values("run_id")).order_by("pk"):
        queue_run(run, at=None)
    record("hold.lifted", tenant_id=hold.tenant_id, subject_id=hold.pk, actor="person", actor_id=by.pk)
    publish_tenant(hold.tenant_id)
