"""How a drive begins and ends: one action and one transaction each. Locks in the order run, call, request, audit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from agents.canonical import digest, storable
from approvals.audit.actions import record
from approvals.calls.models import CallStatus, CatalogueTool, ToolCall
from approvals.calls.titles import manifest_from_json
from approvals.conversations.actions import queue_run
from approvals.conversations.events import publish_turn, wake_runner
from approvals.conversations.models import UNFINISHED, Hold, Message, Run, RunStatus
from approvals.db.durability import commit_is_repeatable
from approvals.db.tenant_scope import current_tenant
from approvals.policies.evaluation import VERSION, judge
from approvals.reviews.actions import open_request, supersede
from approvals.reviews.models import Decision, RequestStatus, ReviewRequest
from approvals.reviews.segments import flags_in
from approvals.runner.ledger import GATE_LOCK
from approvals.tenants.models import Tenant

FAILURES_BEFORE_STUCK = 5
UNANSWERED = "Not run: the run ended before this call was carried out."
PAUSE_IS_COOPERATIVE = "The graph itself asks, and its own code decides what follows."


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A free-form interrupt of a graph: what it asks, canonical, and the parts of the state a person may edit."""

    interrupt_id: str
    payload: str
    state: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A decided pause whose answer has not reached the graph yet."""

    decision_id: UUID
    interrupt_id: str
    payload: str
    checkpoint: str  # where the graph stood when it asked
    answer: Any
    state_edit: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A run this worker has just begun to drive."""

    run_id: UUID
    conversation_id: UUID
    graph_id: str
    message_id: str
    text: str
    deliveries: Sequence[Delivery]
    driven_before: bool
    suspended_before: bool  # so its input is in a checkpoint for certain
    follows_a_broken_one: bool  # the run before it left calls in the graph's history that nobody answered
    unanswered: str = ""  # why a pause can never be answered any more


@transaction.atomic(durable=True)
def begin_turn(*, thread_id: UUID, epoch: int) -> Turn | None:
    """Take the thread's first unfinished run, if it is due; None where there is nothing to drive.

    A run is due when it is queued and its time has come, or `running` although we hold the lease: its worker died. While
    it waits for people nothing of this thread is driven: new input would silently discard what the graph asks.
    """
    run = Run.objects.filter(thread_id=thread_id, status__in=UNFINISHED).order_by("position").first()
    if run is None or _is_held(run):
        return None
    due = Run.objects.filter(pk=run.pk, wake_at__lte=Now(), epoch__lte=epoch)  # never taken back by a stale worker
    if not due.transition(RunStatus.RUNNING, epoch=epoch, failures=F("failures") + 1):
        return None
    if run.failures >= FAILURES_BEFORE_STUCK:  # its workers die before they can say why
        _move(run, RunStatus.STUCK, error="Five drives in a row ended without an outcome.", ended_at=Now())
        record("run.stuck", tenant_id=run.tenant_id, subject_id=run.pk, epoch=epoch)
        return None
    turn = _turn_of(run)
    commit_is_repeatable()
    record("run.driven", tenant_id=run.tenant_id, subject_id=run.pk, epoch=epoch)
    publish_turn(run)
    return turn


def is_due(*, thread_id: UUID) -> bool:
    """Whether the thread's first unfinished run should be driven now."""
    first = Run.objects.filter(thread_id=thread_id, status__in=UNFINISHED).order_by("position").first()
    if first is None or _is_held(first):
        return False
    return Run.objects.filter(pk=first.pk, status=RunStatus.QUEUED, wake_at__lte=Now()).exists()


@transaction.atomic(durable=True)
def suspend(
    *,
    run_id: UUID,
    epoch: int,
    graph_version: str,
    questions: Iterable[UUID],
    held: Iterable[UUID],
    pauses: Sequence[Pause],
) -> None:
    """The graph waits for people: open a request for each undecided call and pause, from the ledger, not from LangGraph.

    Three calls in one ToolNode are three asked rows and one visible interrupt. Under the run's lock, calls settled since
    the drive looked at them put the run straight back in the queue; otherwise their decision would have woken nobody.
    """
    held = set(held)
    if held:
        _lock_holds()
    run = _locked(run_id, epoch)
    if run is None:
        return
    calls = list(ToolCall.objects.filter(run=run).locked())
    looked_at = set(questions)
    for call in calls:
        if call.status in (CallStatus.ASKED, CallStatus.UNKNOWN):
            _ask_about(run, call)
    for pause in pauses:
        _ask_for(run, pause)
    looked_at -= _still_held(run, [call for call in calls if call.pk in held])  # lifting the hold wakes the run
    settled = [c for c in calls if c.pk in looked_at and c.status not in (CallStatus.ASKED, CallStatus.UNKNOWN)]
    ready = [c.effective_at or timezone.now() for c in settled]
    ready += _undelivered(run).values_list("effective_at", flat=True)
    changes: dict[str, Any] = {"failures": 0, "graph_version": graph_version}
    if ready:
        wake_at = min(ready)
        _move(run, RunStatus.QUEUED, wake_at=wake_at, **changes)
        wake_runner(run, at=wake_at)
    else:
        _move(run, RunStatus.WAITING, **changes)
    record("run.suspended", tenant_id=run.tenant_id, subject_id=run.pk, epoch=epoch)


@transaction.atomic(durable=True)
def finish(*, run_id: UUID, epoch: int, graph_version: str) -> None:
    run = _locked(run_id, epoch)
    if run is not None:
        _close(run)
        commit_is_repeatable()
        _move(run, RunStatus.SUCCEEDED, failures=0, graph_version=graph_version, ended_at=Now())
        record("run.succeeded", tenant_id=run.tenant_id, subject_id=run.pk, epoch=epoch)


@transaction.atomic(durable=True)
def fail(*, run_id: UUID, epoch: int, reason: str) -> None:
    """The graph raised, or can never go on: the run ends and says why. Later messages go on from the last checkpoint."""
    run = _locked(run_id, epoch)
    if run is not None:
        _close(run)
        _move(run, RunStatus.FAILED, error=storable(reason)[:2000], ended_at=Now())
        record(
            "run.failed", tenant_id=run.tenant_id, subject_id=run.pk, epoch=epoch, reason=digest(text=storable(reason))
        )


@transaction.atomic(durable=True)
def try_again(*, run_id: UUID, epoch: int, reason: str) -> None:
    """The machinery failed, not the graph: back in the queue, a little later each time; after the fifth, `stuck`."""
    run = _locked(run_id, epoch)
    if run is None:
        return
    if run.failures >= FAILURES_BEFORE_STUCK:
        _move(run, RunStatus.STUCK, error=storable(reason)[:2000], ended_at=Now())
        record("run.stuck", tenant_id=run.tenant_id, subject_id=run.pk, epoch=epoch)
        return
    wake_at = timezone.now() + timedelta(seconds=2**run.failures / 2)
    _move(run, RunStatus.QUEUED, wake_at=wake_at)
    wake_runner(run, at=wake_at)
    record("run.retried", tenant_id=run.tenant_id, subject_id=run.pk, epoch=epoch, failures=run.failures)


@transaction.atomic
def delivered(*, decision_id: UUID) -> None:
    Decision.objects.filter(pk=decision_id).update(delivered_at=Now())


@transaction.atomic(durable=True)
def superseded_pause(*, decision_id: UUID) -> None:
    """The graph no longer asks what was answered: the answer is not used, and whatever it asks now is asked of people."""
    decision = Decision.objects.select_related("request").get(pk=decision_id)
    ReviewRequest.objects.filter(pk=decision.request_id).update(
        status=RequestStatus.SUPERSEDED, closed_because="The graph asks something else now."
    )
    Decision.objects.filter(pk=decision_id).update(delivered_at=Now())
    record("request.superseded", tenant_id=decision.tenant_id, subject_id=decision.request_id)


@transaction.atomic(durable=True)
def note_late_receipt(call_id: UUID) -> None:
    """Nobody has to say any more what happened: the receipt came after all. The run goes on with it."""
    call = ToolCall.objects.get(pk=call_id)
    run = Run.objects.locked().get(pk=call.run_id)
    for review in ReviewRequest.objects.filter(call=call, kind=ReviewRequest.Kind.OUTCOME):
        supersede(review, "The receipt came after all.")
    queue_run(run, at=None)
    record("run.late_receipt", tenant_id=run.tenant_id, subject_id=run.pk)


def _lock_holds() -> None:
    """From here a hold cannot be lifted, and look for runs to wake, until this transaction has ended."""
    with connection.cursor() as cursor:
        cursor.execute(GATE_LOCK, [current_tenant()])


def _holds_on(run: Run) -> set[str]:
    """The tools of this run's agent that are on hold; "" stands for all of them."""
    of_this = Q(agent=None) | Q(agent_id=run.conversation.agent_id)
    return set(Hold.objects.filter(of_this, lifted_at=None).values_list("tool_name", flat=True))


def _still_held(run: Run, calls: Iterable[ToolCall]) -> set[UUID]:
    """Those among the calls that a hold still stands for: another one may have been lifted since the drive looked."""
    names = _holds_on(run)
    return {call.pk for call in calls if names & {"", call.tool_name}}


def _is_held(run: Run) -> bool:
    """Whether a hold on the tenant or the agent keeps this run from starting; one that began may go on to its pause."""
    if run.status != RunStatus.QUEUED or run.epoch > 0:
        return False
    _lock_holds()
    return "" in _holds_on(run)


def _turn_of(run: Run) -> Turn:
    """What the drive needs. Before its first pause a run has no answers to deliver; then, its input is in a checkpoint."""
    suspended = run.graph_version != ""
    asked = None if suspended else Message.objects.filter(run=run, author=Message.Author.USER).first()
    return Turn(
        run_id=run.pk,
        conversation_id=run.conversation_id,
        graph_id=run.graph_id,
        message_id=asked.graph_message_id if asked else str(run.pk),
        text=asked.text if asked else "",
        deliveries=_deliveries(run) if suspended else [],
        driven_before=run.epoch > 0,
        suspended_before=suspended,
        follows_a_broken_one=not suspended and _follows_a_broken_one(run),
        unanswered=_unanswered(run) if suspended else "",
    )


def _locked(run_id: UUID, epoch: int) -> Run | None:
    """The run, if this epoch still drives it: a stale worker's outcome is no outcome.

    Only the run is locked, and weakly: with its agent locked too, all runs of an agent went one by one, and a commit that
    checked its foreign key to the agent, which comes after the audit entry, was a deadlock.
    """
    run = Run.objects.locked().select_related("conversation__agent").get(pk=run_id)
    return run if run.status == RunStatus.RUNNING and run.epoch == epoch else None


def _move(run: Run, to: RunStatus, **changes: Any) -> None:
    Run.objects.filter(pk=run.pk).transition(to, **changes)
    publish_turn(run)


def _close(run: Run) -> None:
    """A run that ends leaves no open question behind."""
    said = "Not run: the run ended before anybody decided."
    ToolCall.objects.filter(run=run).transition(CallStatus.WITHDRAWN, result=said, ended_at=Now())
    for review in ReviewRequest.objects.filter(run=run, status=RequestStatus.PENDING):
        supersede(review, "The run ended.")


def _ask_about(run: Run, call: ToolCall) -> None:
    unknown = call.status == CallStatus.UNKNOWN
    kind = ReviewRequest.Kind.OUTCOME if unknown else ReviewRequest.Kind.CALL
    asking = call.attempt if unknown else call.asking
    same = ReviewRequest.objects.filter(call=call, kind=kind, asking=asking)
    if same.exclude(status=RequestStatus.SUPERSEDED).exists():
        return
    tool = CatalogueTool.objects.filter(graph_id=run.graph_id, name=call.tool_name, version=call.tool_version).first()
    judgement = judge(manifest_from_json(tool.manifest) if tool else None)
    why = "The worker died while this call ran: nobody knows whether it took effect." if unknown else judgement.why
    title = f"Did it happen? {call.title}" if unknown else call.title
    review = _request(run, kind=kind, title=title, risk=judgement.risk.value, why=why, digest=call.final_digest)
    review.call, review.asking, review.tool_name = call, asking, call.tool_name
    review.flags = flags_in(json.loads(call.arguments))
    open_request(review)


def _ask_for(run: Run, pause: Pause) -> None:
    """One request for each pause: the same interrupt with the same payload is the same question."""
    bound = digest(run=str(run.pk), interrupt=pause.interrupt_id, payload=json.loads(pause.payload))
    same = ReviewRequest.objects.filter(run=run, interrupt_id=pause.interrupt_id).exclude(
        status=RequestStatus.SUPERSEDED
    )
    for other in same.exclude(digest=bound).filter(status=RequestStatus.PENDING):
        supersede(other, "The graph asks something else now.")
    if same.filter(digest=bound, status=RequestStatus.PENDING).exists():
        return
    if _undelivered(run).filter(request__in=same.filter(digest=bound)).exists():
        return
    same.filter(digest=bound).update(status=RequestStatus.SUPERSEDED)  # answered before, and asked again all the same
    review = _request(
        run, kind=ReviewRequest.Kind.PAUSE, title=pause.title, risk="unknown", why=PAUSE_IS_COOPERATIVE, digest=bound
    )
    review.interrupt_id, review.payload, review.state = pause.interrupt_id, pause.payload, pause.state
    open_request(review)


def _request(run: Run, *, kind: str, title: str, risk: str, why: str, digest: str) -> ReviewRequest:
    minutes = Tenant.objects.values_list("decide_within_minutes", flat=True).get(pk=run.tenant_id)
    return ReviewRequest(
        tenant_id=run.tenant_id,
        kind=kind,
        conversation_id=run.conversation_id,
        thread_id=run.thread_id,
        run=run,
        title=title,
        risk=risk,
        why=why,
        policy_version=VERSION,
        digest=digest,
        agent_name=run.conversation.agent.name,
        requester_id=run.requester_id,
        decide_by=timezone.now() + timedelta(minutes=minutes),
    )


def _follows_a_broken_one(run: Run) -> bool:
    before = Run.objects.filter(thread_id=run.thread_id, position__lt=run.position).order_by("-position").first()
    return before is not None and before.status != RunStatus.SUCCEEDED


def what_became_of(*, thread_id: UUID, message_id: str, call_ids: Sequence[str]) -> dict[str, str]:
    """What the ledger says of calls in the graph's history, for those that never got an answer there."""
    calls = ToolCall.objects.filter(thread_id=thread_id, graph_message_id=message_id, call_id__in=call_ids)
    return {call.call_id: call.result or UNANSWERED for call in calls}


def _undelivered(run: Run) -> QuerySet[Decision]:
    """Answers to the graph's own questions that have not reached it."""
    return Decision.objects.filter(
        request__run=run,
        request__kind=ReviewRequest.Kind.PAUSE,
        request__status=RequestStatus.DECIDED,
        delivered_at=None,
        undone_at=None,
    )


def _deliveries(run: Run) -> list[Delivery]:
    waiting = _undelivered(run).filter(effective_at__lte=Now()).select_related("request")
    return [
        Delivery(
            decision_id=decision.pk,
            interrupt_id=decision.request.interrupt_id,
            payload=decision.request.payload,
            checkpoint=json.loads(decision.request.state).get("checkpoint", ""),
            answer=json.loads(decision.answer),
            state_edit=json.loads(decision.state_edit) if decision.state_edit else {},
        )
        for decision in waiting.order_by("created_at")
    ]


def _unanswered(run: Run) -> str:
    expired = ReviewRequest.objects.filter(
        run=run, kind=ReviewRequest.Kind.PAUSE, status=RequestStatus.EXPIRED
    ).exists()
    return "Nobody answered the graph's question in time." if expired else ""
