"""Arguments as people are shown them: exact values from the canonical bytes, never localised, never cut."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from approvals.reviews.segments import notes, segments

Row = dict[str, Any]
ABSENT = "not given"


def exact_values(canonical_text: str, schema: Mapping[str, Any] | None = None) -> list[Row]:
    """One row for each argument, in the order of the schema where there is one."""
    values = json.loads(canonical_text)
    declared = (schema or {}).get("properties", {})
    names = [name for name in declared if name in values] + [name for name in values if name not in declared]
    return [_row(name, values[name], declared.get(name, {})) for name in names]


def differences(before: str, after: str, *, only_new: bool = False) -> tuple[list[Row], list[str]]:
    """(changed as name, was, now; names of the unchanged). `only_new`: `after` holds changed parts only."""
    was, now = json.loads(before), json.loads(after)
    names = list(now) if only_new else [*was, *(name for name in now if name not in was)]
    changed = [
        {"name": name, "was": _shown(was, name), "now": _shown(now, name)}
        for name in names
        if was.get(name) != now.get(name) or (name in was) != (name in now)
    ]
    moved = {row["name"] for row in changed}
    return changed, [name for name in names if name not in moved]


def exact(value: Any) -> str:
    """A value as text that says all of it: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def _row(name: str, value: Any, schema: Mapping[str, Any]) -> Row:
    text = exact(value)
    return {
        "name": name,
        "type": _type(value, schema),
        "value": text,
        "segments": segments(text),
        "notes": notes(text),
        "changed": False,
    }


def _type(value: Any, schema: Mapping[str, Any]) -> str:
    if isinstance(value, str):
        kind = schema.get("format") or "text"
        return f"{kind}, {len(value):,} characters, all shown" if len(value) > 80 else str(kind)
    return {bool: "yes or no", int: "number", float: "number", list: "list", dict: "object"}.get(type(value), "nothing")


def _shown(values: Mapping[str, Any], name: str) -> str:
    return exact(values[name]) if name in values else ABSENT
