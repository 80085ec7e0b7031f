"""A call in words, from its manifest and its exact arguments; never a word of a model's choosing beyond those values."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from agents.contracts import Effect, Manifest, Rerun, Risk

FIELD = re.compile(r"\{(\w+)(:\.2f)?\}")
LONGEST_VALUE = 60  # characters of one value in a title; the whole value stands among the arguments
HIDDEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}


def title_of(tool_name: str, manifest: Manifest | None, arguments: Mapping[str, Any]) -> str:
    return fill(manifest.title, arguments) if manifest else tool_name


def approve_label(tool_name: str, manifest: Manifest | None, arguments: Mapping[str, Any]) -> str:
    """What the Approve button says: "Approve refund of $420 on order 1041"."""
    if manifest and manifest.button:
        return f"Approve {fill(manifest.button, arguments)}"
    return f"Approve {tool_name}"


def fill(template: str, arguments: Mapping[str, Any]) -> str:
    """Fill `{name}` fields, and `{name:.2f}` for money; no attributes, no other formats, no nesting.

    Hidden characters become visible. Two decimals are shown only where that says the very same number.
    """
    return FIELD.sub(lambda match: _value(arguments.get(match[1], "…"), money=bool(match[2])), template)


def shown(text: str, *, longest: int) -> str:
    """Text on one line of a page: hidden characters visible, its end cut with the size said."""
    visible = "".join(f"[U+{ord(c):04X}]" if unicodedata.category(c) in HIDDEN else c for c in text)
    return visible if len(visible) <= longest else f"{visible[:longest]}… ({len(text):,} characters)"


def _value(value: Any, *, money: bool) -> str:
    if money and isinstance(value, int | float) and float(f"{value:.2f}") == value:
        return f"{value:.2f}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shown(text, longest=LONGEST_VALUE)


def manifest_to_json(manifest: Manifest | None) -> dict[str, Any] | None:
    return dict(vars(manifest)) if manifest else None


def manifest_from_json(stored: Mapping[str, Any] | None) -> Manifest | None:
    if stored is None:
        return None
    return Manifest(
        title=stored["title"],
        button=stored["button"],
        effect=Effect(stored["effect"]),
        reversible=stored["reversible"],
        reach=stored["reach"],
        risk=Risk(stored["risk"]),
        rerun=Rerun(stored["rerun"]),
    )
