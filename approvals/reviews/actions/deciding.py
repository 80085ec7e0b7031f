"""One person's answer to one request. Locks in the order run, call, request; the audit entry last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from agents.canonical import NotCanonical, canonical, digest, problem_with, storable
from approvals.audit.actions import record
from approvals.calls.digests import call_digest
from approvals.calls.models import CallStatus, ToolCall, tool_of
from approvals.calls.titles import manifest_from_json, title_of
from approvals.conversations.actions import queue_run
from approvals.conversations.events import publish_turn
from approvals.conversations.models import Run, RunStatus
from approvals.reviews.actions.refusals import Invalid, Stale, TooLate
from approvals.reviews.events import publish_request
from approvals.reviews.models import Decision, RequestStatus, ReviewRequest, Verdict
from approvals.tenants.models import Tenant, User

TAKEN_BACK: dict[str, Any] = {
    "approved_arguments": "",
    "approved_digest": "",
    "effective_at": None,
    "execute_by": None,
    "ended_at": None,
    "result": "",
    "allowances": F("attempt"),
}
ENDED = (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED)
EXECUTE_WITHIN = timedelta(hours=24)  # an approval that was not consumed by then has expired


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One person's answer as it came from a form: values, not yet checked against the request."""

    verdict: Verdict
    digest: str  # of what the person saw
    feedback: str = ""  # a reason, or the answer in the tool's place
    arguments: Mapping[str, Any] | None = None  # edit of a call
    answer: Any = None  # to a pause
    state_edit: Mapping[str, Any] | None = None  # to a pause


@transaction.atomic(durable=True)
def decide(*, review: ReviewRequest, reviewer: User, answer: Answer) -> Decision:
    """Record one person's answer, move what it is about, and queue the run. One winner: a guarded UPDATE says who."""
    run = Run.objects.locked().get(pk=review.run_id)
    call = ToolCall.objects.locked().get(pk=review.call_id) if review.call_id else None
    if answer.digest != review.digest:
        raise Stale
    decision = _decision(review, call, reviewer, answer)
    in_time = Q(decide_by__gt=Now()) | Q(kind=ReviewRequest.Kind.OUTCOME)  # what happened can be said at any time
    still_open = ReviewRequest.objects.filter(in_time, pk=review.pk)
    if not still_open.transition(RequestStatus.DECIDED, closed_at=Now()):
        raise TooLate(ReviewRequest.objects.get(pk=review.pk))
    decision.save(force_insert=True)
    if call is not None:
        _move_call(call, review, decision)
    queue_run(run, at=decision.effective_at)
    record(
        f"request.{decision.verdict}",
        tenant_id=review.tenant_id,
        subject_id=review.pk,
        actor="person",
        actor_id=reviewer.pk,
        digest=decision.digest,
        arguments=digest(text=decision.arguments),
        feedback=digest(text=decision.feedback),
    )
    publish_request(review)
    publish_turn(run)
    return decision


@transaction.atomic(durable=True)
def undo(*, review: ReviewRequest, by: User) -> None:
    """Take one's own decision back, within the tenant's window. Both marks stay in the record; the run waits again.

    The claim honours the same `effective_at`, on the database's clock and under the same row lock, so a call is either
    taken back or carried out, never both.
    """
    run = Run.objects.locked().get(pk=review.run_id)
    list(ToolCall.objects.locked().filter(requests=review))
    if run.status in ENDED:  # meanwhile: its calls are withdrawn, and nothing is left to ask
        raise TooLate(review)
    mine = Decision.objects.filter(request=review, reviewer=by, undone_at=None, effective_at__gt=Now())
    if not mine.update(undone_at=Now()):
        raise TooLate(review)
    ReviewRequest.objects.filter(pk=review.pk).transition(RequestStatus.PENDING, closed_at=None)
    calls = ToolCall.objects.filter(requests=review)
    to = CallStatus.UNKNOWN if review.kind == ReviewRequest.Kind.OUTCOME else CallStatus.ASKED
    title = {"title": review.title} if review.kind == ReviewRequest.Kind.CALL else {}  # an edit had changed it
    calls.transition(to, **TAKEN_BACK, **title)
    record("request.undone", tenant_id=review.tenant_id, subject_id=review.pk, actor="person", actor_id=by.pk)
    publish_request(review)
    publish_turn(run)


def checked_arguments(review: ReviewRequest, arguments: Mapping[str, Any]) -> str:
    """Edited arguments as canonical text, or Invalid: they must fit the tool's own schema, and stay this tool's."""
    assert review.call is not None
    try:
        text = canonical(dict(arguments))
    except NotCanonical as error:
        raise Invalid("arguments", f"These arguments cannot be shown faithfully: {error}.") from None
    tool = tool_of(review.call)
    if tool is None:
        raise Invalid("arguments", "The tool's schema is unknown, so its arguments cannot be edited.")
    if problem := problem_with(json.loads(text), tool.schema):
        raise Invalid("arguments", problem)
    return text


def _decision(review: ReviewRequest, call: ToolCall | None, reviewer: User, answer: Answer) -> Decision:
    """The row, checked in full before anything moves."""
    window = Tenant.objects.values_list("undo_seconds", flat=True).get(pk=review.tenant_id)
    decision = Decision(
        tenant_id=review.tenant_id,
        request=review,
        reviewer=reviewer,
        verdict=answer.verdict,
        digest=answer.digest,
        feedback=storable(answer.feedback.strip()),
        effective_at=_database_now() + timedelta(seconds=window),
    )
    if review.kind == ReviewRequest.Kind.PAUSE:
        _check_pause(review, decision, answer)
    elif review.kind == ReviewRequest.Kind.CALL and answer.verdict == Verdict.EDIT:
        decision.arguments = checked_arguments(review, answer.arguments or {})
        if call is not None and decision.arguments == call.arguments:
            raise Invalid("arguments", "Nothing was changed. To let the call run as it is, approve it.")
    elif answer.verdict == Verdict.EDIT:
        raise Invalid("arguments", "What was started already cannot be changed.")
    if answer.verdict in (Verdict.REJECT, Verdict.RESPOND) and not decision.feedback and not decision.answer:
        raise Invalid("feedback", "Write what the agent should be told.")
    return decision


def _check_pause(review: ReviewRequest, decision: Decision, answer: Answer) -> None:
    if answer.verdict != Verdict.RESPOND:
        raise Invalid("answer", "A question of the graph is answered; it has nothing to approve.")
    try:
        decision.answer = canonical(answer.answer)
        decision.state_edit = canonical(dict(answer.state_edit)) if answer.state_edit else ""
    except NotCanonical as error:
        raise Invalid("answer", f"This cannot be stored faithfully: {error}.") from None
    if answer.state_edit and not set(answer.state_edit) <= set(json.loads(review.state)["values"]):
        raise Invalid("state", "Only the parts of the state that are shown can be edited.")


def _move_call(call: ToolCall, review: ReviewRequest, decision: Decision) -> None:
    calls = ToolCall.objects.filter(pk=call.pk)
    verdict = decision.verdict
    if review.kind == ReviewRequest.Kind.OUTCOME:
        moved = _settle_unknown(calls, decision)
    elif verdict == Verdict.REJECT:
        said = f"Not run: a person rejected this call. Reason: {decision.feedback}"
        moved = calls.transition(
            CallStatus.REJECTED, result=said, effective_at=decision.effective_at, ended_at=decision.effective_at
        )
    elif verdict == Verdict.RESPOND:
        moved = calls.transition(
            CallStatus.ANSWERED,
            result=decision.feedback,
            effective_at=decision.effective_at,
            ended_at=decision.effective_at,
        )
    else:
        moved = calls.transition(CallStatus.APPROVED, **_allowance(call, decision))
    if not moved:
        raise TooLate(review)


def _allowance(call: ToolCall, decision: Decision) -> dict[str, Any]:
    """What an approval gives: one more attempt, within a time, with these very arguments."""
    given: dict[str, Any] = {
        "allowances": F("attempt") + 1,
        "effective_at": decision.effective_at,
        "execute_by": decision.effective_at + EXECUTE_WITHIN,
    }
    if decision.verdict == Verdict.EDIT:
        tool = tool_of(call)
        manifest = manifest_from_json(tool.manifest) if tool else None
        given["approved_arguments"] = decision.arguments
        given["approved_digest"] = call_digest(
            tenant_id=call.tenant_id,
            run_id=call.run_id,
            message_id=call.graph_message_id,
            call_id=call.call_id,
            tool=call.tool_name,
            arguments=decision.arguments,
        )
        given["title"] = title_of(call.tool_name, manifest, json.loads(decision.arguments))
    return given


def _settle_unknown(calls: Any, decision: Decision) -> int:
    """Nobody knows whether the effect happened: a person says it did, lets it run again, or gives it up."""
    when = {"effective_at": decision.effective_at, "ended_at": decision.effective_at}  # not told before it is final
    if decision.verdict == Verdict.RESPOND:
        return int(calls.transition(CallStatus.DONE, result=decision.feedback, **when))
    if decision.verdict == Verdict.REJECT:
        said = f"It is not known whether this call took effect; a person gave it up. {decision.feedback}"
        return int(calls.transition(CallStatus.FAILED, result=said, **when))
    return int(
        calls.transition(
            CallStatus.APPROVED,
            allowances=F("attempt") + 1,
            effective_at=decision.effective_at,
            execute_by=decision.effective_at + EXECUTE_WITHIN,
        )
    )


def _database_now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    assert isinstance(now, datetime)
    return now
