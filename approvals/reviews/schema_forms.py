"""Forms from a tool's JSON Schema, and back: types kept, nothing rounded, what was not touched comes back as it was.

Parts that have no plain field (objects, lists, unions) are edited as JSON, each by itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.canonical import storable
from approvals.reviews.exact import exact

PREFIX = "arg-"
LONG = 80  # characters from which a text gets more than one line

Field = dict[str, Any]
Values = dict[str, Any]


@dataclass(kw_only=True)
class SchemaForm:
    """Fields to show, and after `bind` the values that were typed; `errors` are {id, text} for the summary."""

    fields: list[Field]
    errors: list[dict[str, str]] = field(default_factory=list)
    values: Values = field(default_factory=dict)

    def refuse(self, why: str) -> None:
        """An error of the whole, under the field it names if it names one."""
        name = why.partition(":")[0]
        named = next((each for each in self.fields if each["label"] == name), None)
        if named is not None:
            named["error"] = why.partition(":")[2].strip()
        self.errors.append({"id": named["id"] if named else "", "text": why})


def form_for(schema: Mapping[str, Any], values: Mapping[str, Any]) -> SchemaForm:
    declared = _properties(schema)
    extra: dict[str, Mapping[str, Any]] = {name: {} for name in values if name not in declared}
    fields = [
        _field(name, part, values, required=name in schema.get("required", ()))
        for name, part in {**declared, **extra}.items()
    ]
    return SchemaForm(fields=fields)


def bind(schema: Mapping[str, Any], values: Mapping[str, Any], posted: Mapping[str, str]) -> SchemaForm:
    """The form as it was sent: values where they could be read, errors where not."""
    form = form_for(schema, values)
    for each in form.fields:
        _bind_field(form, each, values, posted)
    return form


def _bind_field(form: SchemaForm, each: Field, values: Mapping[str, Any], posted: Mapping[str, str]) -> None:
    name, text = each["label"], _sent(each, posted)
    if text is None:
        if name in values:
            form.values[name] = values[name]  # not in the form that was sent: as it was
        return
    untouched = name in values and text == each["value"]
    each["value"] = text
    for option in each["options"]:
        option["selected"] = option["value"] == text
    if untouched:
        form.values[name] = values[name]  # byte for byte, whatever the field made of it
    elif text or (each["kind"] == "text" and name in values):
        try:
            form.values[name] = _read(each, text)
        except ValueError as error:
            form.refuse(f"{name}: {error}")
    elif each["nullable"] and name in values:
        form.values[name] = None
    elif each["required"]:
        form.refuse(f"{name}: a value is needed")


def _sent(each: Field, posted: Mapping[str, str]) -> str | None:
    """What the browser sent for this field. An unticked box sends nothing; line ends come as CR LF."""
    if each["kind"] == "boolean":
        return "true" if posted.get(each["name"]) == "true" else "false"
    sent = posted.get(each["name"])
    return None if sent is None else storable(sent.replace("\r\n", "\n"))


def _read(each: Field, text: str) -> Any:
    """The value of the field's own type; ValueError says what is wrong in words."""
    kind = each["kind"]
    if kind in ("text", "textarea", "date", "datetime"):
        return text
    if kind == "boolean":
        return text == "true"
    if kind in ("select", "choice"):
        return next((option["json"] for option in each["options"] if option["value"] == text), text)
    if kind in ("integer", "number"):
        return _number(text, whole=kind == "integer")
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON ({error})") from None


def _number(text: str, *, whole: bool) -> int | float:
    try:
        value = json.loads(text.strip(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("not a number; write it like 420 or 89.90")
    if whole and not float(value).is_integer():
        raise ValueError("not a whole number")
    return int(value) if whole else value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _field(name: str, schema: Mapping[str, Any], values: Mapping[str, Any], *, required: bool) -> Field:
    part, nullable = _without_null(schema)
    value = values.get(name)
    kind = _kind(part, value)
    return {
        "name": f"{PREFIX}{name}",
        "id": f"{PREFIX}{name}",
        "label": name,
        "kind": kind,
        "value": "" if name not in values or value is None else _text(kind, value),
        "type": _hint(part, kind),
        "required": required and kind != "boolean",
        "nullable": nullable,
        "error": "",
        "help": part.get("description", ""),
        "options": _options(part, value) if kind == "select" else [],
    }


def _kind(part: Mapping[str, Any], value: Any) -> str:
    if "enum" in part:
        return "select"
    if "const" in part:
        return "const" if isinstance(part["const"], str) else "json"
    declared = part.get("type")
    if declared == "string" and (value is None or isinstance(value, str)):
        long = part.get("maxLength", 0) > 2 * LONG or (isinstance(value, str) and (len(value) > LONG or "\n" in value))
        return "textarea" if long else "text"
    fits: dict[Any, tuple[type, ...]] = {"integer": (int,), "number": (int, float), "boolean": (bool,)}
    if declared in fits and (value is None or isinstance(value, fits[declared])):
        return str(declared)
    return "json"


def _text(kind: str, value: Any) -> str:
    if kind in ("json", "number", "integer", "boolean"):
        return json.dumps(value, ensure_ascii=False, indent=2)
    return exact(value)


def _hint(part: Mapping[str, Any], kind: str) -> str:
    words = {"textarea": "text", "json": "JSON", "integer": "whole number", "select": "one of a list", "boolean": ""}
    limits = [
        f"{word} {part[key]}"
        for key, word in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "more than"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "less than"),
        )
        if key in part
    ]
    return ", ".join([words.get(kind, part.get("format") or kind), *limits])


def _options(part: Mapping[str, Any], value: Any) -> list[Field]:
    return [
        {"value": exact(each), "label": exact(each), "json": each, "selected": each == value} for each in part["enum"]
    ]


def _without_null(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Pydantic writes an optional value as anyOf [type, null]."""
    parts = schema.get("anyOf", [])
    real = [part for part in parts if part.get("type") != "null"]
    if len(parts) == len(real) + 1 and len(real) == 1:
        return {**schema, **real[0]}, True
    return schema, False


def _properties(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The declared arguments, with local references looked up one level deep."""
    definitions = schema.get("$defs", {})
    found = {}
    for name, part in schema.get("properties", {}).items():
        reference = str(part.get("$ref", "")).removeprefix("#/$defs/")
        found[name] = {**definitions.get(reference, {}), **part} if reference else part
    return found
