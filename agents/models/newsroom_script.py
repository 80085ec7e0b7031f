"""The demo model's part in the newsroom: a headline, an empty line and a draft about what it was asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from langchain_core.messages import BaseMessage, HumanMessage

from agents.models.prose import brief
from agents.models.scripted import LABEL, Line

ASKING = re.compile(
    r"^\W*(?:please\s+|can you\s+|could you\s+)?(?:write|draft|announce|publish|prepare|compose|report)?\s*"
    r"(?:(?:an?|the|some|short|news|press|item|article|story|piece|release|announcement|note|post)\s+)*"
    r"(?:about|on|that|for|saying)?\s*:?\s*",
    re.IGNORECASE,
)


def newsroom(messages: Sequence[BaseMessage], tools: frozenset[str]) -> Line:
    """Write one item about the newest message."""
    asked = next((str(message.text) for message in reversed(messages) if isinstance(message, HumanMessage)), "")
    topic = brief(ASKING.sub("", asked[:2000], count=1), 160).rstrip(" .!?") or "nothing in particular"
    headline = brief(topic[:1].upper() + topic[1:], 90)
    return Line(
        f"**{headline}**\n\n"
        f"The newsroom was asked for an item about {topic}. Everything that is known so far is in the headline.\n\n"
        f"({LABEL}. An editor may rewrite this draft before it is published.)"
    )
