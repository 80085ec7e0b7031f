"""Made-up view models for /styleguide/, in the shapes that the templates document. `{% load samples %}`, debug only."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import template
from django.utils.timezone import now

register = template.Library()

Sample = dict[str, Any]
DIFF = [
    {"name": "amount", "was": "4200.00", "now": "420.00"},
    {"name": "notify_email", "was": "returns@l\u0430rkspur.example\u200b", "now": "returns@larkspur.example"},
]
SEGMENTS = [
    ("Pay returns@l", "", ""),
    ("\u0430", "mixed", "“\u0430” is CYRILLIC SMALL LETTER A, U+0430"),
    ("rkspur.example", "", ""),
    ("U+202E", "hidden", "RIGHT-TO-LEFT OVERRIDE"),
    ("⟨24 spaces⟩", "space", "24 characters of space"),
    ("<b>", "tag", "markup"),
    ("now", "", ""),
    ("</b>", "tag", "markup"),
]
CALLS = {
    "preparing": "Preparing", "running": "Running", "waiting": "Waiting for review", "approved": "Approved",
    "edited": "Approved with edits", "done": "Done", "rejected": "Rejected", "answered": "Answered by a person",
    "denied": "Denied by policy", "expired": "Expired", "withdrawn": "Withdrawn", "failed": "Failed",
    "unknown": "Outcome unknown",
}  # fmt: skip
FIELDS: tuple[Sample, ...] = (
    {"kind": "text", "label": "charge_id", "type": "text", "value": "ch_3PqY0sLkd2hT"},
    {
        "kind": "number",
        "label": "amount",
        "type": "number, at most 1000",
        "value": "4200.00",
        "error": "More than 1000.",
    },
    {"kind": "textarea", "label": "reason", "type": "text", "value": "The parcel arrived damaged.\nTwo photos."},
    {"kind": "boolean", "label": "notify_customer", "value": "true"},
    {"kind": "select", "label": "currency", "type": "one of a list", "options": ("USD", "EUR")},
    {"kind": "choice", "label": "Choice", "plain": True, "options": ("Publish as it is", "Revise once more")},
    {"kind": "date", "label": "due_on", "type": "date", "value": "2026-11-20"},
    {"kind": "json", "label": "metadata", "type": "JSON", "value": '{\n  "order": 88213\n}', "help": "Kept as it is."},
    {"kind": "const", "label": "mode", "type": "text", "value": "live"},
)


@register.simple_tag
def sample_rows() -> list[Sample]:
    """Queue rows: each risk, due soon, decided each way, and a title nobody should write."""
    kinds = [
        ("high", "open", "", 6, "Refund $4,200.00 to card ending 4471"),
        ("critical", "open", "", None, "Delete 1 contact and 312 records"),
        ("medium", "open", "", None, "Send email to 1,204 recipients"),
        ("low", "open", "", None, "Post to #launch, 41 members"),
        ("", "open", "", None, "unknown_tool"),
        ("low", "approved", "Approved by Mia Torres", None, "Create invoice INV-2291 for $612.00"),
        ("high", "rejected", "Rejected by Mia Torres", None, "Share “Payroll 2026” with 1 outside address"),
        ("medium", "expired", "Expired", None, "Point shop.larkspur.example to 203.0.113.40"),
        ("high", "open", "", None, "<script>alert(1)</script> \u202etxt.exe " + "x" * 300),
    ]
    return [
        {
            "id": f"00000000-0000-0000-0000-{number:012}", "number": f"REQ-{1840 + number}", "title": title,
            "risk": risk, "tool_name": "issue_refund", "agent_name": "Billing agent", "status": status,
            "outcome": outcome, "created_at": now() - timedelta(minutes=9 * number), "flags": number % 3,
            "decide_by": now() + timedelta(minutes=due, seconds=30) if due else None,
        }
        for number, (risk, status, outcome, due, title) in enumerate(kinds)
    ]  # fmt: skip


@register.simple_tag
def sample_calls() -> list[Sample]:
    """Tool cards in every state."""
    return [
        {
            "id": f"sample-{state}", "tool_name": "send_email", "gist": "Email to anna.kovacs@example.net",
            "state": state, "state_label": label, "elapsed": "1.1 s" if state in ("done", "edited", "failed") else "",
            "arguments": [{"name": "to", "value": "", "segments": SEGMENTS}],
            "diff": DIFF if state == "edited" else [], "unchanged": "subject and body",
            "reviewer": "Mia Torres" if state in ("edited", "rejected", "answered", "approved") else "",
            "feedback": "The address has a look-alike letter." if state in ("edited", "rejected") else "",
            "result": '{"sent": true}' if state == "done" else "", "waits_for": "Support leads",
            "since": now() - timedelta(minutes=4), "until": now() + timedelta(minutes=26),
            "why_not": "You asked for this, so you cannot approve it.",
        }
        for state, label in CALLS.items()
    ]  # fmt: skip


@register.simple_tag
def sample_fields() -> list[Sample]:
    """Form fields of every kind, one with an error."""
    return [_field(field) for field in FIELDS]


@register.simple_tag
def sample_errors() -> Sample:
    return {"errors": [{"id": "sample-amount", "text": "amount: more than 1000"}]}


@register.simple_tag
def sample_diff() -> list[Sample]:
    return DIFF


@register.simple_tag
def sample_segments() -> list[tuple[str, str, str]]:
    return SEGMENTS


@register.simple_tag
def sample_review() -> Sample:
    return {
        "risk": "high", "effect_label": "Moves money", "reversible": False, "reach": "Stripe, live account",
        "limit": "$1,000.00", "why": "Held by “Refunds over $1,000.00”, policy version 7.",
    }  # fmt: skip


def _field(field: Sample) -> Sample:
    name = f"sample-{field['label']}"
    options = [{"value": each, "label": each, "selected": not at} for at, each in enumerate(field.get("options", ()))]
    return {"name": name, "id": name, "value": "", "error": "", "help": ""} | field | {"options": options}
