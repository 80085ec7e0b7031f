"""Questions to people: opened when a run pauses, superseded when they no longer hold, expired when nobody answers."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from approvals.audit.actions import record
from approvals.calls.models import CallStatus, ToolCall
from approvals.conversations.actions import queue_run
from approvals.conversations.events import publish_turn
from approvals.conversations.models import Run
from approvals.reviews.events import publish_request
from approvals.reviews.models import RequestStatus, ReviewRequest


def open_request(review: ReviewRequest) -> None:
    """Store a question, inside the transaction that pauses the run; older askings of a call are superseded."""
    older = ReviewRequest.objects.filter(call_id=review.call_id) if review.call_id else ReviewRequest.objects.none()
    for past in older.filter(status=RequestStatus.PENDING):
        supersede(past, "Something changed since it was asked, so it was asked anew.")
    review.save(force_insert=True)
    publish_request(review)


def supersede(review: ReviewRequest, why: str) -> None:
    moved = ReviewRequest.objects.filter(pk=review.pk)
    if moved.transition(RequestStatus.SUPERSEDED, closed_at=Now(), closed_because=why):
        publish_request(review)


@transaction.atomic(durable=True)
def expire(*, review: ReviewRequest) -> bool:
    """Nobody decided in time, which means no. False where somebody was quicker."""
    run = Run.objects.locked().get(pk=review.run_id)
    expiring = ReviewRequest.objects.exclude(kind=ReviewRequest.Kind.OUTCOME)
    overdue = expiring.filter(pk=review.pk, decide_by__lte=Now())
    if not overdue.transition(RequestStatus.EXPIRED, closed_at=Now(), closed_because="Nobody decided in time."):
        return False
    if review.kind == ReviewRequest.Kind.CALL:
        said = "Not run: nobody decided in time. Do not try it again by yourself."
        ToolCall.objects.filter(requests=review).transition(CallStatus.EXPIRED, result=said, ended_at=Now())
    queue_run(run, at=None)
    record("request.expired", tenant_id=review.tenant_id, subject_id=review.pk)
    publish_request(review)
    publish_turn(run)
    return True
