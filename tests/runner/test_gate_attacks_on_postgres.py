"""The attacks of tests/agents once more, on the real ledger: each drive is a lease, an epoch and a suspension."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from agents.contracts import RunContext
from agents.gate import GatedTool
from approvals.calls.models import ToolCall
from approvals.reviews.models import RequestStatus, ReviewRequest, Verdict
from tests.agents import test_gate_attacks as attacks
from tests.agents.gate_desk import Driven, call_directly, drive_once
from tests.runner.workbench import Bench

world, shape = attacks.world, attacks.shape
globals().update({name: getattr(attacks, name) for name in attacks.ANY_LEDGER})


class PostgresDesk:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.saver: Any = InMemorySaver()

    def drive(self, graph: Any, given: Any, *, meanwhile: Callable[[], None] | None = None) -> Driven:
        self._begin()

        async def once() -> Driven:
            return await drive_once(self._context(), graph, given, meanwhile)

        end = self.bench.loop.run(once())
        if end.interrupts:
            self.bench.suspend()
        return end

    def call(self, tool: GatedTool, arguments: Any, *, call_id: str = "c1") -> Any:
        self._begin()

        async def once() -> Any:
            return await call_directly(self._context(), tool, arguments, call_id)

        return self.bench.loop.run(once())

    def _begin(self) -> None:
        """Whatever it waits for: another client may drive at any time."""
        self.bench.sql("UPDATE conversations_run SET status = 'queued' WHERE id = %s", self.bench.run_id)
        self.bench.begin()

    def _context(self) -> RunContext:
        return RunContext(
            tenant_id=self.bench.tenant.pk,
            run_id=self.bench.run_id,
            ledger=self.bench.ledger,
            loop=asyncio.get_running_loop(),
        )

    def approve(self, call_id: str) -> None:
        self._decide(call_id, Verdict.APPROVE)

    def reject(self, call_id: str) -> None:
        self._decide(call_id, Verdict.REJECT)

    def _decide(self, call_id: str, verdict: Verdict) -> None:
        with self.bench.scope():
            review = ReviewRequest.objects.get(
                run_id=self.bench.run_id, call__call_id=call_id, status=RequestStatus.PENDING
            )
        self.bench.decide(verdict, review=review)

    def statuses(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        with self.bench.scope():
            for call in ToolCall.objects.filter(run_id=self.bench.run_id).order_by("created_at"):
                found[call.call_id].append(call.status)
        return dict(found)


@pytest.fixture
def desk(bench: Bench) -> PostgresDesk:
    return PostgresDesk(bench)
