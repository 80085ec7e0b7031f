"""Text that can be stored and shown, whatever it was made from."""

from __future__ import annotations

import re
from collections.abc import Iterable

UNSTORABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]"
)  # control characters but tab and line feed, surrogates


def clean(text: object) -> str:
    """The text without what PostgreSQL, JSON or a terminal would choke on; each such character becomes U+FFFD."""
    return UNSTORABLE.sub("\ufffd", str(text).replace("\r\n", "\n").replace("\r", "\n"))


def brief(text: object, most: int = 400) -> str:
    """One line of at most `most` characters, and a word about what was left out."""
    line = " ".join(clean(text).split())
    if len(line) <= most:
        return line
    return f"{line[:most].rstrip()} … ({len(line) - most:,} more characters)"


def listed(parts: Iterable[object]) -> str:
    """Enumerate: 1041; 1041 and 1042; 1041, 1042 and 1043."""
    *first, last = [str(part) for part in parts] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def dollars(amount: float) -> str:
    return f"${amount:,.2f}"
