"""A conversation as its page shows it: turns, their texts and tool cards, and what is true while something waits."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.safestring import SafeString

from approvals.calls.models import CallStatus, ToolCall
from approvals.chat.markdown import to_html
from approvals.conversations.models import Conversation, Message, Run, RunStatus
from approvals.reviews.access import why_not
from approvals.reviews.exact import differences, exact_values
from approvals.reviews.models import Decision, RequestStatus, ReviewRequest, Verdict
from approvals.tenants.access import MANAGES, READS_QUEUE
from approvals.tenants.models import Membership

CARD_STATES = {CallStatus.ALLOWED: "running", CallStatus.ASKED: "waiting", CallStatus.EXECUTING: "running"}
BROKEN = (RunStatus.FAILED, RunStatus.STUCK)
WAITING = frozenset({"waiting", "unknown"})


@dataclass(kw_only=True)
class Entry:
    kind: str  # text or call
    id: str
    html: SafeString | None = None
    streaming: bool = False
    call: dict[str, Any] | None = None


@dataclass(kw_only=True)
class Turn:
    """One run as people read it."""

    id: str
    author: str
    at: datetime
    text: str
    state: str
    state_label: str
    error: str
    retry_url: str = ""
    agent_at: datetime | None = None
    entries: list[Entry] = field(default_factory=list)


def turns_of(conversation: Conversation, member: Membership, runs: QuerySet[Run] | None = None) -> list[Turn]:
    """The turns of the branch that is shown, oldest first; with `runs`, of these only."""
    if runs is None:
        runs = Run.objects.filter(thread_id=conversation.current_thread_id)
    chosen = list(runs.select_related("requester").order_by("position"))
    parts = _Parts.of(chosen, member)
    return [parts.turn(run) for run in chosen]


def conversation_item(conversation: Conversation, newest: Run | None) -> dict[str, Any]:
    """One line of the list."""
    state, label = STATE_WORDS.get(RunStatus(newest.status), ("", "")) if newest else ("", "")
    return {
        "id": conversation.pk,
        "title": conversation.title,
        "agent_name": conversation.agent.name,
        "at": conversation.updated_at,
        "state": state,
        "state_label": label,
    }


STATE_WORDS = {
    RunStatus.QUEUED: ("queued", "Queued"),
    RunStatus.RUNNING: ("running", "Working"),
    RunStatus.WAITING: ("waiting", "Waiting for review"),
    RunStatus.FAILED: ("failed", "Failed"),
    RunStatus.STUCK: ("stuck", "Stuck"),
    RunStatus.CANCELLED: ("withdrawn", "Stopped"),
}


def hold_of(turns: list[Turn]) -> str:
    """What is true for somebody who wants to write now."""
    cards = [entry.call for turn in turns for entry in turn.entries if entry.call]
    waiting = sum(card["state"] in WAITING for card in cards)
    if waiting:
        calls = "A request waits for review." if waiting == 1 else f"{waiting} requests wait for review."
        return f"{calls} A message sent now is answered after that."
    if turns and turns[-1].state in ("queued", "running"):
        return "The agent is working. A message sent now is answered after that."
    return ""


@dataclass(kw_only=True)
class _Parts:
    """Everything the turns are made of, fetched in four queries however many turns there are."""

    member: Membership
    newest: Any
    messages: dict[Any, list[Message]]
    calls: dict[Any, list[ToolCall]]
    requests: dict[Any, list[ReviewRequest]]
    decisions: dict[Any, Decision]

    @classmethod
    def of(cls, runs: list[Run], member: Membership) -> _Parts:
        decisions = Decision.objects.filter(request__run__in=runs, undone_at=None).select_related("reviewer")
        return cls(
            member=member,
            newest=runs[-1].pk if runs else None,
            messages=_by_run(Message.objects.filter(run__in=runs)),
            calls=_by_run(ToolCall.objects.filter(run__in=runs)),
            requests=_by_run(ReviewRequest.objects.filter(run__in=runs).order_by("created_at")),
            decisions={decision.request_id: decision for decision in decisions},
        )

    def turn(self, run: Run) -> Turn:
        messages = self.messages[run.pk]
        asked = next((each for each in messages if each.author == Message.Author.USER), None)
        said = [each for each in messages if each.author == Message.Author.AGENT]
        state, label = STATE_WORDS.get(RunStatus(run.status), ("done", ""))
        return Turn(
            id=str(run.pk),
            author=run.requester.display_name,
            at=run.created_at,
            text=asked.text if asked else "",
            state=state,
            state_label=label,
            error=run.error if run.status in BROKEN else "",
            retry_url=self._retry_address(run),
            agent_at=said[0].created_at if said else None,
            entries=self._entries(run, said),
        )

    def _retry_address(self, run: Run) -> str:
        """Where a broken run is driven once more; only the newest of its thread can be."""
        may = run.requester_id == self.member.user_id or self.member.role in MANAGES
        if run.status not in BROKEN or not may or run.pk != self.newest:
            return ""
        place = {"tenant": self.member.tenant.slug, "conversation": run.conversation_id, "run": run.pk}
        return reverse("chat:retry", kwargs=place)

    def _entries(self, run: Run, said: list[Message]) -> list[Entry]:
        """Texts, cards of calls and of the graph's own questions, in the order they happened."""
        timed: list[tuple[datetime, Entry]] = [
            (each.created_at, Entry(kind="text", id=str(each.pk), html=to_html(each.text), streaming=not each.complete))
            for each in said
            if each.text
        ]
        timed += [(c.created_at, Entry(kind="call", id=str(c.pk), call=self._card(c))) for c in self.calls[run.pk]]
        timed += [
            (review.created_at, Entry(kind="call", id=str(review.pk), call=self._question_card(review)))
            for review in self.requests[run.pk]
            if review.kind == ReviewRequest.Kind.PAUSE and review.status != RequestStatus.SUPERSEDED
        ]
        return [entry for _, entry in sorted(timed, key=lambda pair: pair[0])]

    def _card(self, call: ToolCall) -> dict[str, Any]:
        review = next((r for r in reversed(self.requests[call.run_id]) if r.call_id == call.pk), None)
        decision = self.decisions.get(review.pk) if review else None
        edited = bool(call.approved_arguments)
        state = CARD_STATES.get(CallStatus(call.status), str(call.status))
        if edited and state in ("approved", "done"):
            state = "edited"
        changed, unchanged = differences(call.arguments, call.final_arguments) if edited else ([], [])
        return {
            "id": call.pk,
            "tool_name": call.tool_name,
            "gist": call.title,
            "state": state,
            "state_label": "Approved with edits" if state == "edited" else call.get_status_display(),
            "elapsed": _elapsed(call.started_at, call.ended_at),
            "arguments": exact_values(call.final_arguments),
            "diff": changed,
            "unchanged": " and ".join(unchanged),
            "result": call.result if state in ("done", "edited", "failed", "denied", "expired", "withdrawn") else "",
            **self._about(review, decision),
        }

    def _question_card(self, review: ReviewRequest) -> dict[str, Any]:
        decision = self.decisions.get(review.pk)
        answered = bool(decision)
        state = "answered" if answered else "waiting" if review.status == RequestStatus.PENDING else review.status
        answer = decision.answer if decision else ""
        changed, _ = (
            differences(json.dumps(json.loads(review.state)["values"]), decision.state_edit, only_new=True)
            if decision and decision.state_edit
            else ([], [])
        )
        return {
            "id": review.pk,
            "tool_name": "question",
            "gist": review.title,
            "state": state,
            "state_label": "Answered by a person" if answered else review.get_status_display(),
            "diff": changed,
            "result": "",
            **self._about(review, decision),
            "feedback": answer,
        }

    def _about(self, review: ReviewRequest | None, decision: Decision | None) -> dict[str, Any]:
        """Who decided, or who can and until when."""
        if review is None:
            return {}
        may_read = self.member.role in READS_QUEUE
        told = decision is not None and decision.verdict in (Verdict.REJECT, Verdict.RESPOND)
        return {
            "waits_for": "A reviewer",
            "since": review.created_at,
            "until": review.decide_by,
            "why_not": why_not(self.member, review) if review.requester_id == self.member.user_id else "",
            "withdraw_url": _withdrawal(self.member, review),
            "request_url": _address(self.member, review) if may_read else "",
            "request_number": review.label,
            "reviewer": decision.reviewer.display_name if decision else "",
            "feedback": decision.feedback if decision and told else "",
        }


def _by_run(rows: Iterable[Any]) -> dict[Any, list[Any]]:
    grouped: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        grouped[row.run_id].append(row)
    return grouped


def _address(member: Membership, review: ReviewRequest) -> str:
    return reverse("reviews:detail", kwargs={"tenant": member.tenant.slug, "review": review.pk})


def _withdrawal(member: Membership, review: ReviewRequest) -> str:
    """Where the person who asked takes the question back."""
    mine = review.requester_id == member.user_id and review.kind != ReviewRequest.Kind.OUTCOME
    if not mine or review.status != RequestStatus.PENDING:
        return ""
    place = {"tenant": member.tenant.slug, "conversation": review.conversation_id, "review": review.pk}
    return reverse("chat:withdraw", kwargs=place)


def _elapsed(started: datetime | None, ended: datetime | None) -> str:
    return f"{(ended - started).total_seconds():.1f} s" if started and ended and ended >= started else ""
