"""What people read about the demo's agents. Apart from the graphs, whose libraries take seconds to import."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Introduction:
    """`graph_id` is the one of langgraph.json; a starter is a message to begin a chat with."""

    graph_id: str
    name: str
    description: str
    starters: tuple[str, ...]


SUPPORT_DESK = Introduction(
    graph_id="support_desk",
    name="Support desk",
    description="Looks up orders, refunds, emails customers, cancels and readdresses. People decide what matters.",
    starters=(
        "Refund orders 1041 and 1042",
        "Refund $20 on order 1041 because it arrived late",
        "Show order 1043",
        "Email the customer of order 1042 about the delay",
        "Cancel order 1043",
        "Find orders with a tent",
    ),
)
NEWSROOM = Introduction(
    graph_id="newsroom",
    name="Newsroom",
    description="Drafts a short news item and asks an editor: publish or drop? The draft can be changed meanwhile.",
    starters=(
        "Write about the new repair service in our Berlin shop",
        "Announce that every order ships without plastic from May",
    ),
)
INTRODUCTIONS = (SUPPORT_DESK, NEWSROOM)
