"""Do ledger, requests and paused checkpoints still say the same? Compared both ways, tenant by tenant.

Whatever is found is mended by the same transitions that everything else uses: a run is put back in the queue, and the
worker finds out the truth; a question that nobody can need any more is superseded. What no transition can mend is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from approvals.audit.actions import record
from approvals.calls.models import CallStatus, ToolCall
from approvals.conversations.actions import queue_run
from approvals.conversations.events import wake_runner
from approvals.conversations.models import UNFINISHED, Hold, Lease, Run, RunStatus
from approvals.db.tenant_scope import acting_for
from approvals.reviews.actions import supersede
from approvals.reviews.models import RequestStatus, ReviewRequest
from approvals.tenants.models import Tenant

UNDECIDED = (CallStatus.ASKED, CallStatus.UNKNOWN)
PENDING = ReviewRequest.objects.filter(status=RequestStatus.PENDING)

# Whether LangGraph's newest checkpoint of a thread is paused: an interrupt was written on top of it.
PAUSED = """
SELECT EXISTS (SELECT 1 FROM langgraph.checkpoint_writes w
                WHERE w.thread_id = c.thread_id AND w.checkpoint_ns = c.checkpoint_ns
                  AND w.checkpoint_id = c.checkpoint_id AND w.channel = '__interrupt__')
  FROM langgraph.checkpoints c WHERE c.thread_id = %s AND c.checkpoint_ns = ''
 ORDER BY c.checkpoint_id DESC LIMIT 1
"""


@dataclass(frozen=True, kw_only=True)
class Finding:
    subject: UUID
    what: str
    mend: Callable[[], None] | None = None  # None: a person has to look


def reconcile(tenant: Tenant, *, mend: bool) -> list[Finding]:
    """Everything of this tenant that disagrees; with `mend`, put right as far as a transition can."""
    with acting_for(tenant.pk):
        findings = [*_runs(), *_calls(), *_requests()]
        for finding in findings if mend else ():
            if finding.mend is not None:
                finding.mend()
        return findings


def _runs() -> Iterator[Finding]:
    for run in Run.objects.filter(status=RunStatus.WAITING):
        if not PENDING.all().filter(run=run).exists() and not _is_held(run):
            yield Finding(subject=run.pk, what="waits, but asks nobody", mend=partial(_drive_again, run))
        elif _is_paused(run.thread_id) is False:
            yield Finding(subject=run.pk, what="waits, but its graph does not", mend=partial(_drive_again, run))
    for run in Run.objects.filter(status=RunStatus.RUNNING):
        if not Lease.objects.filter(thread_id=run.thread_id, expires_at__gte=Now()).exists():
            yield Finding(subject=run.pk, what="works, but no worker has it", mend=partial(_wake, run))


def _calls() -> Iterator[Finding]:
    asked = PENDING.all().filter(call=OuterRef("pk"))
    waiting = ToolCall.objects.filter(status__in=UNDECIDED, run__status=RunStatus.WAITING).select_related("run")
    for call in waiting.exclude(Exists(asked)):
        yield Finding(subject=call.pk, what="is undecided, but asks nobody", mend=partial(_drive_again, call.run))
    for call in ToolCall.objects.filter(status=CallStatus.EXECUTING).exclude(run__status__in=UNFINISHED):
        yield Finding(subject=call.pk, what="was claimed, and its run ended without a receipt")


def _requests() -> Iterator[Finding]:
    for review in PENDING.all().select_related("run", "call"):
        if review.run.status not in UNFINISHED:
            yield Finding(subject=review.pk, what="is open, but its run has ended", mend=_superseding(review))
        elif review.call is not None and review.call.status not in UNDECIDED:
            yield Finding(subject=review.pk, what="is open, but its call is decided", mend=_superseding(review))


def _is_held(run: Run) -> bool:
    """An approved call behind a hold asks nobody, and rightly so."""
    shut_out = (CallStatus.APPROVED, CallStatus.ALLOWED, CallStatus.EXECUTING)
    return (
        Hold.objects.filter(lifted_at=None).exists() and ToolCall.objects.filter(run=run, status__in=shut_out).exists()
    )


def _is_paused(thread_id: UUID) -> bool | None:
    """What the checkpoint says; None where there is none."""
    with connection.cursor() as cursor:
        cursor.execute(PAUSED, [str(thread_id)])
        row = cursor.fetchone()
    return bool(row[0]) if row else None


@transaction.atomic(durable=True)
def _drive_again(run: Run) -> None:
    locked = Run.objects.locked().get(pk=run.pk)
    queue_run(locked, at=None)
    record("run.reconciled", tenant_id=run.tenant_id, subject_id=run.pk)


@transaction.atomic(durable=True)
def _wake(run: Run) -> None:
    wake_runner(run)


def _superseding(review: ReviewRequest) -> Callable[[], None]:
    @transaction.atomic(durable=True)
    def mend() -> None:
        supersede(review, "Nothing waits for this any more.")
        record("request.superseded", tenant_id=review.tenant_id, subject_id=review.pk)

    return mend
