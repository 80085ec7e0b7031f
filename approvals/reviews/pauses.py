"""A graph's own question as a form, and what was typed as the answer it expects.

A payload with `choices` is answered with {"choice", "note"}; one without, with a text. The state beside it can be edited
part by part; only parts that were changed travel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agents.canonical import storable
from approvals.reviews.models import ReviewRequest
from approvals.reviews.schema_forms import Field, SchemaForm, bind, form_for

STATE = "state-"


def answer_form(review: ReviewRequest, posted: Mapping[str, str] | None = None) -> SchemaForm:
    choices = choices_of(json.loads(review.payload))
    sent = posted or {}
    if not choices:
        form = SchemaForm(fields=[_plain("answer", "Answer", "textarea", sent, required=True)])
        form.values = {"answer": form.fields[0]["value"]}
    else:
        choice = _plain("choice", "Choice", "choice", sent, required=True)
        choice["options"] = [{"value": each, "label": each, "selected": each == choice["value"]} for each in choices]
        form = SchemaForm(fields=[choice, _plain("note", "Note", "textarea", sent)])
        form.values = {"choice": choice["value"], "note": form.fields[1]["value"]}
    if posted is not None:
        _require(form, choices)
    return form


def answer_of(form: SchemaForm) -> Any:
    """What `interrupt()` returns in the graph."""
    return form.values.get("answer", form.values)


def state_form(review: ReviewRequest, posted: Mapping[str, str] | None = None) -> SchemaForm | None:
    values = json.loads(review.state)["values"]
    if not values:
        return None
    schema = {"properties": {name: _schema_of(value) for name, value in values.items()}}
    sent = {key.removeprefix(STATE): text for key, text in (posted or {}).items() if key.startswith(STATE)}
    form = bind(schema, values, sent) if posted is not None else form_for(schema, values)
    for each in form.fields:
        each["name"] = each["id"] = f"{STATE}{each['name']}"
    return form


def state_edit_of(form: SchemaForm | None, review: ReviewRequest) -> dict[str, Any]:
    """The parts that a person changed."""
    values = json.loads(review.state)["values"]
    typed = form.values if form else {}
    return {name: value for name, value in typed.items() if value != values.get(name)}


def choices_of(payload: Any) -> list[str]:
    found = payload.get("choices") if isinstance(payload, dict) else None
    return found if isinstance(found, list) and found and all(isinstance(each, str) for each in found) else []


def _plain(name: str, label: str, kind: str, sent: Mapping[str, str], *, required: bool = False) -> Field:
    return {
        "name": name,
        "id": f"field-{name}",
        "label": label,
        "kind": kind,
        "value": storable(sent.get(name, "").replace("\r\n", "\n")).strip(),
        "type": "",
        "required": required,
        "error": "",
        "help": "",
        "options": [],
        "plain": True,
    }


def _require(form: SchemaForm, choices: list[str]) -> None:
    first = form.fields[0]
    if choices and first["value"] not in choices:
        form.refuse("Choice: choose one")
    elif not first["value"]:
        form.refuse("Answer: write an answer")


def _schema_of(value: Any) -> dict[str, Any]:
    kinds: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}
    return {"type": kinds.get(type(value), "")}
