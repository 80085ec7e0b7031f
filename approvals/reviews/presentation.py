"""The queue and a request as their pages show them. Facts first, from the manifest and the canonical arguments."""

from __future__ import annotations

import json
from typing import Any

from django.urls import reverse
from django.utils import timezone

from agents.contracts import Effect
from approvals.audit.models import AuditEvent
from approvals.calls.models import tool_of
from approvals.calls.titles import approve_label, manifest_from_json
from approvals.conversations.models import Message
from approvals.reviews.access import why_not
from approvals.reviews.exact import differences, exact_values
from approvals.reviews.models import Decision, RequestStatus, ReviewRequest, Verdict
from approvals.reviews.pauses import answer_form, state_form
from approvals.reviews.schema_forms import Field, SchemaForm, form_for
from approvals.reviews.segments import notes, segments
from approvals.tenants.access import READS_EVERY_CONVERSATION
from approvals.tenants.models import Membership

Context = dict[str, Any]

EFFECTS = {
    Effect.READS: "Reads",
    Effect.CHANGES: "Changes data",
    Effect.SENDS: "Sends",
    Effect.MOVES_MONEY: "Moves money",
    Effect.DELETES: "Deletes",
    Effect.UNKNOWN: "Unknown",
}
KINDS = {
    ReviewRequest.Kind.CALL: "tool_call",
    ReviewRequest.Kind.PAUSE: "interrupt",
    ReviewRequest.Kind.OUTCOME: "unknown",
}
OUTCOMES = {
    Verdict.APPROVE: "approved",
    Verdict.EDIT: "approved",
    Verdict.REJECT: "rejected",
    Verdict.RESPOND: "answered",
}
LAST_MESSAGES = 4


def queue_items(reviews: list[ReviewRequest]) -> list[Context]:
    """Lines of the queue, with the decisions fetched in one query."""
    decided = Decision.objects.filter(request__in=reviews, undone_at=None).select_related("reviewer")
    decisions = {decision.request_id: decision for decision in decided}
    return [queue_item(review, decisions.get(review.pk)) for review in reviews]


def queue_item(review: ReviewRequest, decision: Decision | None) -> Context:
    status, outcome = _outcome(review, decision)
    return {
        "id": review.pk,
        "number": review.label,
        "title": review.title,
        "risk": review.risk,
        "tool_name": review.tool_name,
        "agent_name": review.agent_name,
        "requester": review.requester,
        "created_at": review.created_at,
        "decide_by": None if review.kind == ReviewRequest.Kind.OUTCOME else review.decide_by,
        "status": status,
        "outcome": outcome,
        "flags": review.flags,
    }


def detail(review: ReviewRequest, member: Membership) -> Context:
    """Everything the detail page shows of one request, before any form was sent."""
    decision = decision_of(review)
    refusal = why_not(member, review)
    shown: Context = {
        "review": {**queue_item(review, decision), **_facts(review, member)},
        "agent_says": _agent_says(review),
        "last_messages": _last_messages(review, member),
        "activity": _activity(review),
        "decision": _decided(review, decision, member),
        "may_decide": not refusal,
        "why_not": refusal,
    }
    shown |= _pause(review) if review.kind == ReviewRequest.Kind.PAUSE else _call(review)
    return shown


def decision_of(review: ReviewRequest) -> Decision | None:
    return Decision.objects.filter(request=review, undone_at=None).select_related("reviewer").first()


def text_form(label: str, about: str, value: str = "", error: str = "") -> SchemaForm:
    """One text to send: a reason, or an answer in the tool's place."""
    made: Field = {
        "name": "feedback",
        "id": f"feedback-{label.lower()}",
        "label": label,
        "kind": "textarea",
        "value": value,
        "type": "",
        "required": True,
        "error": error,
        "help": about,
        "options": [],
        "plain": True,
    }
    return SchemaForm(fields=[made], errors=[{"id": made["id"], "text": error}] if error else [])


def reject_form(value: str = "", error: str = "") -> SchemaForm:
    return text_form("Reason", "This text goes to the agent.", value, error)


def respond_form(value: str = "", error: str = "") -> SchemaForm:
    return text_form("Answer", "The agent receives this instead of the tool's result.", value, error)


def conflict_of(review: ReviewRequest) -> Context:
    """Who decided what, and when: what the loser of a race is told."""
    _, outcome = _outcome(review, decision_of(review))
    at = f" at {review.closed_at:%H:%M:%S} UTC" if review.closed_at else ""
    return {
        "title": "Already decided",
        "text": f"{outcome}{at}. Your answer was not used, and nothing else was changed.",
    }


def _facts(review: ReviewRequest, member: Membership) -> Context:
    tool = tool_of(review.call) if review.call else None
    manifest = manifest_from_json(tool.manifest) if tool else None
    arguments = json.loads(review.call.final_arguments) if review.call else {}
    return {
        "kind": KINDS[ReviewRequest.Kind(review.kind)],
        "effect_label": EFFECTS[manifest.effect] if manifest else "Unknown",
        "reversible": manifest.reversible if manifest else None,
        "reach": manifest.reach if manifest else "",
        "why": f"{review.why} Policy: {review.policy_version}.",
        "digest": review.digest,
        "approve_label": _approve_label(review, approve_label(review.tool_name, manifest, arguments)),
        "conversation_id": review.conversation_id
        if review.conversation.user_id == member.user_id or member.role in READS_EVERY_CONVERSATION
        else None,
    }


def _approve_label(review: ReviewRequest, label: str) -> str:
    if review.kind == ReviewRequest.Kind.OUTCOME:
        return "Approve running it again"
    return label if review.kind == ReviewRequest.Kind.CALL else ""


def _call(review: ReviewRequest) -> Context:
    assert review.call is not None
    tool = tool_of(review.call)
    schema = tool.schema if tool else {}
    editable = tool is not None and review.kind == ReviewRequest.Kind.CALL
    return {
        "arguments": exact_values(review.call.arguments, schema),
        "raw_json": json.dumps(json.loads(review.call.arguments), ensure_ascii=False, indent=2),
        "edit_form": form_for(schema, json.loads(review.call.arguments)) if editable else None,
        "reject_form": reject_form(),
        "respond_form": respond_form(),
    }


def _pause(review: ReviewRequest) -> Context:
    payload = json.loads(review.payload)
    text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False, indent=2)
    return {
        "question": {"text": text, "segments": segments(text), "notes": notes(text)},
        "arguments": [],
        "answer_form": answer_form(review),
        "state_form": state_form(review),
    }


def _outcome(review: ReviewRequest, decision: Decision | None) -> tuple[str, str]:
    if review.status == RequestStatus.PENDING:
        return "open", ""
    if decision is not None and review.status == RequestStatus.DECIDED:
        by = f"{decision.get_verdict_display()} by {decision.reviewer.display_name}"
        return OUTCOMES[Verdict(decision.verdict)], by
    return str(review.status), review.get_status_display()


def _decided(review: ReviewRequest, decision: Decision | None, member: Membership) -> Context | None:
    if decision is None:
        return None
    changed: list[Context] = []
    if decision.arguments and review.call:
        changed, _ = differences(review.call.arguments, decision.arguments)
    elif decision.state_edit:
        changed, _ = differences(json.dumps(json.loads(review.state)["values"]), decision.state_edit, only_new=True)
    return {
        "verdict": decision.verdict,
        "label": decision.get_verdict_display(),
        "reviewer": decision.reviewer.display_name,
        "at": decision.created_at,
        "feedback": decision.feedback or _answer_text(decision),
        "diff": changed,
        "undo_url": _undo_address(review, decision, member),
        "undo_until": decision.effective_at,
    }


def _undo_address(review: ReviewRequest, decision: Decision, member: Membership) -> str:
    """While the window is open, for the person who decided. The deadline itself is kept by the action."""
    open_still = decision.reviewer_id == member.user_id and decision.effective_at > timezone.now()
    return reverse("reviews:undo", kwargs={"tenant": member.tenant.slug, "review": review.pk}) if open_still else ""


def _answer_text(decision: Decision) -> str:
    if not decision.answer:
        return ""
    answer = json.loads(decision.answer)
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, indent=2)


def _agent_says(review: ReviewRequest) -> str:
    """The words the model wrote beside its call: shown below the facts, marked unverified."""
    if review.call is None:
        return ""
    said = Message.objects.filter(run_id=review.run_id, graph_message_id=review.call.graph_message_id).first()
    return said.text if said else ""


def _last_messages(review: ReviewRequest, member: Membership) -> list[Context]:
    newest = Message.objects.filter(thread_id=review.thread_id).order_by("-created_at")[:LAST_MESSAGES]
    return [
        {
            "author": review.agent_name if each.author == Message.Author.AGENT else review.requester.display_name,
            "is_agent": each.author == Message.Author.AGENT,
            "at": each.created_at,
            "text": each.text,
        }
        for each in reversed(newest)
        if each.text
    ]


ACTIVITY = {
    "call.asked": "Paused for review",
    "call.superseded": "Asked anew",
    "call.executing": "Execution began",
    "call.taken_over": "Taken over after a crash",
    "call.done": "Done",
    "call.failed": "Failed",
    "call.unknown": "Outcome unknown",
    "call.late_receipt": "A receipt came late",
    "request.approve": "Approved",
    "request.edit": "Approved with edits",
    "request.reject": "Rejected",
    "request.respond": "Answered",
    "request.expired": "Expired",
}


def _activity(review: ReviewRequest) -> list[Context]:
    subjects = [review.pk, review.call_id] if review.call_id else [review.pk]
    events = AuditEvent.objects.filter(subject_id__in=subjects).order_by("sequence")
    return [{"text": ACTIVITY[each.action], "at": each.at} for each in events if each.action in ACTIVITY]
