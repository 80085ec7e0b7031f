"""What the gate promises and no attack had tried: each of these was missed by a seeded bug (tests/torture)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import ToolException

from agents.canonical import MAX_BYTES, MAX_DEPTH, NotCanonical, canonical
from agents.contracts import Effect, Grant, ProposedCall, Receipt, Rerun, RunContext, driving
from agents.gate import GatedTool, at_rest, gated_tool
from tests.agents.fake_ledger import FakeLedger, FakeTransaction

CALL = {"type": "tool_call", "id": "call-1", "name": "refund", "args": {"order": 1}}


def refunding(effect: Callable[[int], Any], *, rerun: Rerun = Rerun.ONCE) -> GatedTool:
    async def refund(order: int) -> str:
        """Refund an order."""
        await effect(order)
        return "done"

    return gated_tool(title="Refund order {order}", effect=Effect.MOVES_MONEY, rerun=rerun)(refund)


def run_of(ledger: FakeLedger) -> RunContext:
    return RunContext(tenant_id=uuid4(), run_id=uuid4(), ledger=ledger, loop=asyncio.get_running_loop())


async def test_what_was_granted_runs_whatever_the_graph_says() -> None:
    """After an edit the graph still has the old arguments; those of the grant were approved."""

    class Edited(FakeLedger):
        def grant(self, call: ProposedCall) -> Grant:
            granted = super().grant(call)
            return Grant(id=granted.id, arguments={"order": 2}, attempt=1, idempotency_key="key")

    ran: list[int] = []

    async def note(order: int) -> None:
        ran.append(order)

    with driving(run_of(Edited())):
        await refunding(note).ainvoke(CALL)
    assert ran == [2]


async def test_an_effect_outlives_the_task_that_asked_for_it() -> None:
    """A sibling's failure cancels the task: the effect goes on, and its receipt is recorded."""
    begun, go_on, ledger = asyncio.Event(), asyncio.Event(), FakeLedger()

    async def slow(order: int) -> None:
        begun.set()
        await go_on.wait()

    run = run_of(ledger)
    with driving(run):
        asking = asyncio.ensure_future(refunding(slow).ainvoke(CALL))
        await begun.wait()
        await cancelled(asking)
        go_on.set()
        await at_rest(run)
    assert ledger.receipts == {"call-1": Receipt(content="done")}


async def test_a_claim_outlives_the_task_that_asked_for_it() -> None:
    """Cancelled between the claim's commit and its answer: the claim was made, so its effect is carried out."""
    claiming, go_on = asyncio.Event(), asyncio.Event()

    class Slow(FakeLedger):
        async def enter(self, call: ProposedCall) -> Any:
            granted = await super().enter(call)
            claiming.set()
            await go_on.wait()
            return granted

    ran: list[int] = []

    async def note(order: int) -> None:
        ran.append(order)

    ledger = Slow()
    run = run_of(ledger)
    with driving(run):
        asking = asyncio.ensure_future(refunding(note).ainvoke(CALL))
        await claiming.wait()
        await cancelled(asking)
        go_on.set()
        await at_rest(run)
    assert (ran, ledger.receipts) == ([1], {"call-1": Receipt(content="done")})


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("fails", [False, True])
async def test_a_failed_transactional_effect_is_rolled_back(fails: bool) -> None:
    said: list[str] = []

    class Books(FakeLedger):
        @asynccontextmanager
        async def transaction(self, grant: Grant) -> AsyncIterator[FakeTransaction]:
            try:
                yield FakeTransaction(None)
            except BaseException:
                said.append("rolled back")
                raise
            said.append("committed")

    async def half(order: int) -> None:
        if fails:
            raise ToolException("The second half cannot be.")

    with driving(run_of(Books())):
        message = await refunding(half, rerun=Rerun.TRANSACTIONAL).ainvoke(CALL)
    assert isinstance(message, ToolMessage)
    assert (said, message.status) == ((["rolled back"], "error") if fails else (["committed"], "success"))


@pytest.mark.parametrize(
    "number", [float("nan"), float("inf"), -float("inf"), 2**53, -(2**53), 2**70], ids=lambda number: str(number)
)
def test_numbers_that_no_two_readers_agree_on_are_refused(number: float) -> None:
    with pytest.raises(NotCanonical):
        canonical({"amount": [number]})
    assert json.loads(canonical({"amount": [2**53 - 1]})) == {"amount": [2**53 - 1]}


def test_nesting_has_a_limit() -> None:
    def nested(levels: int) -> Any:
        value: Any = {}
        for _ in range(levels):
            value = {"a": value}
        return value

    assert canonical(nested(MAX_DEPTH))
    for levels in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(NotCanonical):
            canonical(nested(levels))


def test_size_has_a_limit() -> None:
    assert len(canonical("x" * (MAX_BYTES - 2))) == MAX_BYTES
    with pytest.raises(NotCanonical):
        canonical("ä" * (MAX_BYTES // 2))
