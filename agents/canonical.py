"""Canonical JSON (RFC 8785): one value, one sequence of bytes, one digest. What people see is made from these bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import rfc8785

MAX_DEPTH = 32
MAX_BYTES = 64 * 1024


class NotCanonical(ValueError):
    """The value has no canonical form that people could be shown; the text says why."""


def canonical(value: Any) -> str:
    """RFC 8785 text of a JSON value. Refuses what cannot be stored or shown faithfully.

    Refused: NUL, lone surrogates, NaN, Infinity, integers beyond 2^53 - 1, nesting deeper than 32, more than 64 KiB,
    keys that are not text, and every type that JSON does not have.
    """
    for each, depth in _walk(value):
        if depth > MAX_DEPTH:
            raise NotCanonical(f"nested deeper than {MAX_DEPTH}")
        if isinstance(each, str) and "\x00" in each:
            raise NotCanonical("contains a NUL character")
    try:
        encoded = rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeError) as error:
        raise NotCanonical(str(error)) from None
    if len(encoded) > MAX_BYTES:
        raise NotCanonical(f"{len(encoded):,} bytes long; the limit is {MAX_BYTES:,}")
    return encoded.decode()


def problem_with(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Why these arguments do not fit the tool's schema, or "". Undeclared arguments are refused too."""
    strict = {"additionalProperties": False, **schema}
    error = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(strict, format_checker=jsonschema.FormatChecker()).iter_errors(arguments)
    )
    if error is None:
        return ""
    place = ".".join(str(part) for part in error.absolute_path)
    said = error.message if len(error.message) <= 400 else f"…{error.message[-400:]}"  # the value comes first
    return storable(f"{place}: {said}" if place else said)[:500]


def digest(**parts: Any) -> str:
    """SHA-256 (hex) over the canonical JSON of named parts."""
    return hashlib.sha256(rfc8785.dumps(parts)).hexdigest()


def storable(text: str) -> str:
    """The text with what PostgreSQL cannot store (NUL, lone surrogates) written out as \\uXXXX."""
    if text.isascii() and "\x00" not in text:
        return text
    return "".join(f"\\u{ord(c):04x}" if c == "\x00" or "\ud800" <= c <= "\udfff" else c for c in text)


def readable(value: Any) -> str:
    """A tool's result as text for the model and for people: text as it is, the rest as JSON, nothing unstorable.

    Never raises for the value: what a tool did is not undone because its result cannot be written down.
    """
    if isinstance(value, str):
        return storable(value)
    try:
        return storable(json.dumps(value, ensure_ascii=False, default=str))
    except (TypeError, ValueError, RecursionError):  # keys that are not text, cycles, nesting
        return f"(a result of type {type(value).__name__} that has no text)"


def _walk(value: Any) -> Iterator[tuple[Any, int]]:
    """Every value inside, keys too, with its depth. A loop, not recursion: the nesting is the attacker's."""
    waiting = [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        yield each, depth
        if depth > MAX_DEPTH:
            continue
        if isinstance(each, dict):
            waiting += [(key, depth) for key in each] + [(inner, depth + 1) for inner in each.values()]
        elif isinstance(each, list | tuple):
            waiting += [(inner, depth + 1) for inner in each]
