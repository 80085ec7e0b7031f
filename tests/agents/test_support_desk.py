"""The support desk as a graph: allowed, asked, rejected and answered calls, with a ledger in memory."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from agents.contracts import ProposedCall, Question, Receipt, RunContext, driving
from agents.gate import GatedTool
from agents.graphs import support_desk
from tests.agents.fake_ledger import FakeLedger, Verdict

ORDERS = {
    number: {
        "order_number": number,
        "status": "delivered",
        "customer": {"name": "Zoë Brandt", "email": "zoe.brandt@example.com"},
        "items": [{"name": "Two-person tent", "price": str(total), "quantity": 1}],
        "total": total,
        "refunded": 0,
        "left_to_refund": total,
        "currency": "USD",
        "placed_on": "2026-05-10",
        "address": "Lindenstraße 18, 10969 Berlin, Germany",
    }
    for number, total in {1041: 420.0, 1042: 89.9}.items()
}


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEHOUSE_DEMO_DELAY_MS", "0")


class Desk:
    """One thread of the graph. Look-ups are answered from ORDERS; the rest as the ledger decides."""

    def __init__(self, **decisions: Receipt) -> None:
        self.decisions = decisions
        self.ledger = FakeLedger(self._decide)
        self.graph = support_desk.graph.copy(update={"checkpointer": InMemorySaver()})

    def _decide(self, call: ProposedCall) -> Verdict:
        arguments = json.loads(call.arguments)
        if call.tool.name == "look_up_order":
            order = ORDERS.get(arguments["order_number"])
            return Receipt(content=json.dumps(order)) if order else Receipt(content="There is no such order.", ok=False)
        known = self.decisions.get(f"order_{arguments.get('order_number')}")
        return known or Question(description=call.tool.name, digest="d")

    def drive(self, given: Any) -> list[Any]:
        async def once() -> list[Any]:
            loop = asyncio.get_running_loop()
            with driving(RunContext(tenant_id=uuid4(), run_id=uuid4(), ledger=self.ledger, loop=loop)):
                config: Any = {"configurable": {"thread_id": "t"}}
                state = await self.graph.ainvoke(given, config, durability="sync")
                return [state["messages"], state.get("__interrupt__", [])]

        return asyncio.run(once())

    def say(self, text: str) -> list[Any]:
        return self.drive({"messages": [("user", text)]})

    def of(self, tool: str) -> list[ProposedCall]:
        return [call for call in self.ledger.proposed if call.tool.name == tool]


def test_two_refunds_pause_together_and_go_on_one_by_one() -> None:
    desk = Desk()
    _, waiting = desk.say("Refund orders 1041 and 1042")
    assert sorted(each.value["args"]["order_number"] for each in waiting) == [1041, 1042]
    assert {each.value["type"] for each in waiting} == {"tool_approval"}
    desk.decisions["order_1041"] = Receipt(content="Refunded $420.00 on order 1041.")
    _, still = desk.drive(None)
    assert [each.value["args"]["order_number"] for each in still] == [1042]
    desk.decisions["order_1042"] = Receipt(content="Rejected by Rosa Reviewer: too late.", ok=False)
    messages, none = desk.drive(None)
    assert list(none) == []
    assert messages[-1].text == (
        "- Refunded $420.00 on order 1041.\n- Refund on order 1042, not done: Rejected by Rosa Reviewer: too late."
    )
    assert len(desk.of("issue_refund")) == 2  # asked again and again, proposed once


def test_the_model_proposes_what_people_will_read() -> None:
    desk = Desk()
    desk.say("Refund $20.50 on order 1041 because it arrived late")
    (call,) = desk.of("issue_refund")
    assert json.loads(call.arguments) == {"order_number": 1041, "amount": 20.5, "reason": "it arrived late"}
    assert call.problem == ""
    assert call.tool.manifest
    assert call.tool.manifest.title.format_map(json.loads(call.arguments)) == ("Refund $20.50 on order 1041")


def test_the_history_stays_valid_and_a_second_turn_works() -> None:
    done = Receipt(content="Refunded $420.00 on order 1041.")
    desk = Desk(order_1041=done)
    desk.say("Refund order 1041")
    messages, _ = desk.say("Refund order 1041")
    calls = [call["id"] for each in messages if isinstance(each, AIMessage) for call in each.tool_calls]
    answers = [each.tool_call_id for each in messages if isinstance(each, ToolMessage)]
    assert calls == answers
    assert len(set(calls)) == len(calls) == 4


def test_it_can_only_reach_gated_tools() -> None:
    node: Any = support_desk.graph.nodes["tools"].bound
    tools = node.tools_by_name
    assert len(tools) == 6
    assert all(type(tool) is GatedTool for tool in tools.values())
    assert all(tool.card.manifest for tool in tools.values())
