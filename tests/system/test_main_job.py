"""The main job over HTTP, without a browser: message, pause, decision, result."""

from __future__ import annotations

import pytest

from tests.stack import Stack, decide


@pytest.mark.parametrize("verdict", ["approve", "reject", "respond"])
def test_a_verdict_reaches_the_agent(shared_stack: Stack, verdict: str) -> None:
    member, reviewer = shared_stack.person("member@acme.example"), shared_stack.person("reviewer@acme.example")
    conversation = member.start("refund 5 on order 1061")
    assert shared_stack.settled(conversation)["status"] == "waiting"
    [review] = shared_stack.requests(conversation)
    assert decide(reviewer, review, verdict, feedback="because").status_code == 302
    assert shared_stack.until(conversation, "succeeded")
    call = shared_stack.row("SELECT * FROM calls_toolcall WHERE id = %s", review["call_id"])
    assert call["status"] == {"approve": "done", "reject": "rejected", "respond": "answered"}[verdict]
    refunds = shared_stack.row("SELECT count(*) FROM shop.refunds WHERE idempotency_key LIKE %s", f"{call['id']}%")
    assert refunds["count"] == (1 if verdict == "approve" else 0)
