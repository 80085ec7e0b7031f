"""What ends without an answer: a request withdrawn, a run stopped. The graph is told so, honestly, when it next runs."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from approvals.audit.actions import record
from approvals.calls.models import CallStatus, ToolCall
from approvals.conversations.actions import queue_run
from approvals.conversations.events import publish_turn
from approvals.conversations.models import Message, Run, RunStatus
from approvals.reviews.actions.refusals import Invalid, TooLate
from approvals.reviews.events import publish_request
from approvals.reviews.models import RequestStatus, ReviewRequest
from approvals.tenants.models import User

WITHDRAWN = "Not run: the person who asked for it withdrew it. Do not try it again by yourself."
STOPPED = "Not run: the run was stopped before this was decided or carried out."


@transaction.atomic(durable=True)
def withdraw(*, review: ReviewRequest, by: User) -> None:
    """The person who asked takes the question back. The agent is told; a graph's own question ends its run."""
    if review.kind == ReviewRequest.Kind.OUTCOME:
        raise Invalid("request", "What happened can only be said, not withdrawn.")
    run = Run.objects.locked().get(pk=review.run_id)
    list(ToolCall.objects.locked().filter(requests=review))
    if not _close(review, "The person who asked for it withdrew it."):
        raise TooLate(ReviewRequest.objects.get(pk=review.pk))
    if review.kind == ReviewRequest.Kind.PAUSE:
        _cancel(run)
    else:
        asked = ToolCall.objects.filter(requests=review, status=CallStatus.ASKED)
        asked.transition(CallStatus.WITHDRAWN, result=WITHDRAWN, ended_at=Now())
        queue_run(run, at=None)
    record("request.withdrawn", tenant_id=review.tenant_id, subject_id=review.pk, actor="person", actor_id=by.pk)
    publish_turn(run)


@transaction.atomic(durable=True)
def stop_run(*, run: Run, by: User) -> None:
    """Stop at once: no claim succeeds after this commits. An effect under way is not undone; its receipt is recorded."""
    locked = Run.objects.locked().get(pk=run.pk)
    list(ToolCall.objects.locked().filter(run=run).order_by("pk"))
    if not _cancel(locked):
        return
    record("run.cancelled", tenant_id=run.tenant_id, subject_id=run.pk, actor="person", actor_id=by.pk)
    publish_turn(run)


def _cancel(run: Run) -> int:
    moved = Run.objects.filter(pk=run.pk).transition(RunStatus.CANCELLED, ended_at=Now())
    if moved:
        Message.objects.filter(run=run, complete=False).update(complete=True)  # what was written stays
        ToolCall.objects.filter(run=run).transition(CallStatus.WITHDRAWN, result=STOPPED, ended_at=Now())
        for review in ReviewRequest.objects.filter(run=run, status=RequestStatus.PENDING):
            _close(review, "The run was stopped.")
    return int(moved)


def _close(review: ReviewRequest, why: str) -> int:
    pending = ReviewRequest.objects.filter(pk=review.pk)
    moved = pending.transition(RequestStatus.WITHDRAWN, closed_at=Now(), closed_because=why)
    if moved:
        publish_request(review)
    return int(moved)
