"""Untrusted text, cut into pieces that show what a reader could not see: hidden characters, mixed scripts, padding, markup.

Every place that prints untrusted text prints these pieces, as text nodes (templates/_segments.html).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Segment = tuple[str, str, str]  # text, mark ("", hidden, mixed, space, tag), note

HIDDEN_CATEGORIES = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
ORDINARY_CONTROLS = {"\n", "\t"}
EMOJI_JOINERS = {"\u200d", "\ufe0f"}
TOKEN = re.compile(r"[^\s<>\"',;()]+")
# What people read letter by letter and machines take literally: addresses, hosts, paths, ids. Prose may mix scripts.
LITERAL = re.compile(r"[@/._\-\d]")
TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,200}>|\[[^\[\]\n]{1,200}\]\([^()\s]{1,500}\)")
PADDING = re.compile(r" {20,}|(?:[ \t]*\n){4,}|\u00a0+|[\u2000-\u200a\u202f\u205f\u3000]+")


@dataclass(frozen=True)
class Finding:
    start: int
    end: int
    mark: str
    shown: str
    note: str


def segments(text: str) -> list[Segment]:
    """The whole text in pieces, in order. The unmarked pieces and the marked ones together are everything."""
    pieces: list[Segment] = []
    position = 0
    for found in _findings(text):
        if found.start < position:
            continue
        if found.start > position:
            pieces.append((text[position : found.start], "", ""))
        pieces.append((found.shown, found.mark, found.note))
        position = found.end
    if position < len(text):
        pieces.append((text[position:], "", ""))
    return pieces


def notes(text: str) -> list[str]:
    """What a reader should know of this value before he approves it; a flagged value has at least one."""
    marks = [found for found in _findings(text) if found.mark != "space"]
    hidden = sum(found.mark == "hidden" for found in marks)
    said = [f"{hidden} hidden character{'s' if hidden > 1 else ''}"] if hidden else []
    mixed = [found.note for found in marks if found.mark == "mixed"]
    if mixed:
        said.append(f"Mixed scripts: {mixed[0]}" + (f" and {len(mixed) - 1} more" if len(mixed) > 1 else ""))
    if any(found.mark == "tag" for found in marks):
        said.append("Contains HTML or a Markdown link. Shown as plain text.")
    return said


def flags_in(arguments: Mapping[str, Any]) -> int:
    """How many of a call's arguments have something to check."""
    return sum(bool(notes(value if isinstance(value, str) else json.dumps(value))) for value in arguments.values())


def _findings(text: str) -> list[Finding]:
    if text.isascii() and not TAG.search(text) and not PADDING.search(text) and text.isprintable():
        return []
    found = [*_hidden(text), *_mixed(text), *_tags(text), *_padding(text)]
    return sorted(found, key=lambda each: (each.start, -each.end))


def _hidden(text: str) -> list[Finding]:
    return [
        Finding(at, at + 1, "hidden", f"U+{ord(char):04X}", _name(char))
        for at, char in enumerate(text)
        if unicodedata.category(char) in HIDDEN_CATEGORIES and char not in ORDINARY_CONTROLS and not _in_emoji(text, at)
    ]


def _in_emoji(text: str, at: int) -> bool:
    before = text[at - 1] if at else ""
    return text[at] in EMOJI_JOINERS and bool(before) and unicodedata.category(before) in ("So", "Sk", "Mn")


def _mixed(text: str) -> list[Finding]:
    """Letters of a second script inside one literal token, and of any other script than Latin beside its letters."""
    found = []
    for token in TOKEN.finditer(text):
        scripts = {script for char in token[0] if (script := _script(char))}
        if len(scripts) < 2 or not LITERAL.search(token[0]):
            continue
        found += [
            Finding(at, at + 1, "mixed", text[at], f"“{text[at]}” is {_name(text[at])}, U+{ord(text[at]):04X}")
            for at in range(token.start(), token.end())
            if _script(text[at]) not in ("", "LATIN")
        ]
    return found


def _script(char: str) -> str:
    if not char.isalpha():
        return ""
    return "LATIN" if char.isascii() else unicodedata.name(char, "?").split()[0]


def _tags(text: str) -> list[Finding]:
    return [Finding(m.start(), m.end(), "tag", m[0], "markup") for m in TAG.finditer(text) if m[0].isprintable()]


def _padding(text: str) -> list[Finding]:
    return [
        Finding(
            m.start(), m.end(), "space", f"⟨{len(m[0])} {_kind_of_space(m[0])}⟩", f"{len(m[0])} characters of space"
        )
        for m in PADDING.finditer(text)
    ]


def _kind_of_space(run: str) -> str:
    if "\n" in run:
        return "blank lines"
    return "spaces" if run[0] == " " else "unusual spaces"


def _name(char: str) -> str:
    return unicodedata.name(char, f"character {unicodedata.category(char)}")
