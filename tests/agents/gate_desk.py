"""Graphs with scripted models and real gated tools, driven as the runner drives them, over a ledger that can be asked."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID, uuid4

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from agents.contracts import Effect, Grant, InFlight, ProposedCall, Question, Receipt, RunContext, driving
from agents.gate import GatedTool, at_rest, gated_tool

CONFIG: Any = {"configurable": {"thread_id": "00000000-0000-0000-0000-000000000001"}}


# --- the world, models and graphs -------------------------------------------------------------------------------------


class World:
    """What tools did, counted where the product cannot reach."""

    def __init__(self) -> None:
        self.effects: list[Any] = []

    def refund(self, name: str = "refund", **manifest: Any) -> GatedTool:
        async def refund(order: int, amount: float = 1) -> str:
            """Refund an order."""
            self.effects.append((name, order, amount))
            return f"Refunded {order}."

        refund.__name__ = name
        return gated_tool(title="Refund {amount} on order {order}", effect=Effect.MOVES_MONEY, **manifest)(refund)


def calls(*wanted: tuple[str, str, dict[str, Any]], message: str = "m1") -> AIMessage:
    """One model message that proposes (call id, tool, arguments)."""
    made = [{"id": call_id, "name": tool, "args": args, "type": "tool_call"} for call_id, tool, args in wanted]
    return AIMessage("", id=message, tool_calls=made)


class ScriptedModel(BaseChatModel):
    script: list[AIMessage]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[Any], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=next_of(self.script, messages))])


def next_of(script: Sequence[AIMessage], messages: Sequence[AnyMessage]) -> AIMessage:
    said = sum(isinstance(each, AIMessage) for each in messages)
    return script[said] if said < len(script) else AIMessage("The end.", id=f"end-{said}")


def _tool_node_graph(tools: Sequence[Any], script: Sequence[AIMessage], saver: Any) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("model", lambda state: {"messages": [next_of(script, state["messages"])]})
    builder.add_node("tools", ToolNode(tools))
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", lambda state: "tools" if state["messages"][-1].tool_calls else END)
    builder.add_edge("tools", "model")
    return builder.compile(checkpointer=saver)


def _agent_graph(tools: Sequence[Any], script: Sequence[AIMessage], saver: Any) -> Any:
    return create_agent(model=ScriptedModel(script=list(script)), tools=list(tools), checkpointer=saver)


def _subgraph(tools: Sequence[Any], script: Sequence[AIMessage], saver: Any) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("inner", _tool_node_graph(tools, script, None))
    builder.add_edge(START, "inner")
    return builder.compile(checkpointer=saver)


SHAPES: dict[str, Callable[..., Any]] = {
    "tool node": _tool_node_graph,
    "create_agent": _agent_graph,
    "subgraph": _subgraph,
}


# --- who drives, and who decides --------------------------------------------------------------------------------------


@dataclass
class Driven:
    messages: list[Any]
    interrupts: list[Any]

    def told(self, call_id: str) -> ToolMessage:
        return [m for m in self.messages if isinstance(m, ToolMessage) and m.tool_call_id == call_id][-1]


class Desk(Protocol):
    """One run. The same attacks are tried on a ledger in memory and on PostgreSQL."""

    saver: Any

    def drive(self, graph: Any, given: Any, *, meanwhile: Callable[[], None] | None = None) -> Driven: ...

    def call(self, tool: GatedTool, arguments: Any, *, call_id: str = "c1") -> Any: ...

    def approve(self, call_id: str) -> None: ...

    def reject(self, call_id: str) -> None: ...

    def statuses(self) -> dict[str, list[str]]:
        """What became of each call id, oldest first."""
        ...


async def drive_once(
    context: RunContext, graph: Any, given: Any, meanwhile: Callable[[], None] | None = None
) -> Driven:
    """One pass, as approvals.runner.driving does it. `meanwhile` happens when the graph has ended and effects may not."""
    with driving(context):
        try:
            state = await graph.ainvoke(given, CONFIG, durability="sync")
            if meanwhile is not None:
                meanwhile()
        finally:
            await at_rest(context)
    if not isinstance(state, dict):
        state = {}
    return Driven(messages=state.get("messages", []), interrupts=list(state.get("__interrupt__", [])))


async def call_directly(context: RunContext, tool: GatedTool, arguments: Any, call_id: str) -> Any:
    """As a node of somebody's own would call it."""
    with driving(context):
        try:
            return await tool.ainvoke({"type": "tool_call", "id": call_id, "name": tool.name, "args": arguments})
        finally:
            await at_rest(context)


@dataclass
class _Row:
    id: UUID
    proposed: ProposedCall
    status: str
    allowances: int = 0
    attempt: int = 0
    receipt: Receipt | None = None


@dataclass
class StrictLedger:
    """The real ledger's promises, in memory: bound to what was proposed, one claim for each allowance."""

    rows: dict[tuple[str, str], _Row] = field(default_factory=dict)
    entered: list[Any] = field(default_factory=list)
    before_entering: Callable[[ProposedCall], Any] | None = None  # may return something to await
    database: Any = None

    async def enter(self, call: ProposedCall) -> Any:
        if self.before_entering is not None and (wait := self.before_entering(call)) is not None:
            await wait
        answer = self._enter(call)
        self.entered.append(answer)
        return answer

    def _enter(self, call: ProposedCall) -> Any:
        first = "denied" if call.problem else "asked"
        if call.tool.manifest and call.tool.manifest.effect is Effect.READS and not call.problem:
            first = "approved"
        row = self.rows.setdefault(
            (call.message_id, call.call_id),
            _Row(id=uuid4(), proposed=call, status=first, allowances=int(first == "approved")),
        )
        if (row.proposed.tool.name, row.proposed.arguments) != (call.tool.name, call.arguments):
            return Receipt(content="Refused: this call id was used before, for another call.", ok=False)
        if row.receipt is not None:
            return row.receipt
        if row.status == "denied":
            return Receipt(content=f"Refused: {row.proposed.problem}", ok=False)
        if row.status == "rejected":
            return Receipt(content="Not run: a person rejected this call.", ok=False)
        if row.status == "executing":
            return InFlight(id=row.id)
        if row.status == "approved" and row.attempt < row.allowances:
            row.status, row.attempt = "executing", row.attempt + 1
            arguments = json.loads(row.proposed.arguments)
            return Grant(id=row.id, arguments=arguments, attempt=row.attempt, idempotency_key=f"{row.id}:{row.attempt}")
        return Question(description=call.tool.name, digest="d")

    async def settle(self, grant: Grant, receipt: Receipt) -> None:
        [row] = [row for row in self.rows.values() if row.id == grant.id]
        assert row.receipt is None, "two receipts of one grant"
        row.receipt, row.status = receipt, "done" if receipt.ok else "failed"

    @asynccontextmanager
    async def transaction(self, grant: Grant) -> AsyncIterator[Any]:
        yield _Transaction(self, grant)


@dataclass
class _Transaction:
    ledger: StrictLedger
    grant: Grant
    connection: Any = None

    async def settle(self, receipt: Receipt) -> None:
        await self.ledger.settle(self.grant, receipt)


class MemoryDesk:
    def __init__(self) -> None:
        self.ledger = StrictLedger()
        self.saver: Any = InMemorySaver()
        self.tenant, self.run = uuid4(), uuid4()

    def context(self) -> RunContext:
        """Inside the loop that drives."""
        return RunContext(tenant_id=self.tenant, run_id=self.run, ledger=self.ledger, loop=asyncio.get_running_loop())

    def drive(self, graph: Any, given: Any, *, meanwhile: Callable[[], None] | None = None) -> Driven:
        async def once() -> Driven:
            return await drive_once(self.context(), graph, given, meanwhile)

        return asyncio.run(once())

    def call(self, tool: GatedTool, arguments: Any, *, call_id: str = "c1") -> Any:
        async def once() -> Any:
            return await call_directly(self.context(), tool, arguments, call_id)

        return asyncio.run(once())

    def approve(self, call_id: str) -> None:
        row = self._asked(call_id)
        row.status, row.allowances = "approved", row.attempt + 1

    def reject(self, call_id: str) -> None:
        self._asked(call_id).status = "rejected"

    def _asked(self, call_id: str) -> _Row:
        [row] = [row for (_, each), row in self.ledger.rows.items() if each == call_id and row.status == "asked"]
        return row

    def statuses(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for (_, call_id), row in self.ledger.rows.items():
            found[call_id].append(row.status)
        return dict(found)
