"""A ledger in memory, for graphs and tools tested without Django: each call is allowed unless told otherwise."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from agents.contracts import Grant, ProposedCall, Question, Receipt

Verdict = Grant | Question | Receipt


@dataclass
class FakeTransaction:
    connection: Any

    async def settle(self, receipt: Receipt) -> None:
        """The receipt is kept by nobody: these tests look at the effect."""


class FakeLedger:
    def __init__(self, decide: Callable[[ProposedCall], Verdict | None] | None = None, database: Any = None) -> None:
        self.decide = decide or (lambda call: None)
        self.database = database
        self.proposed: list[ProposedCall] = []
        self.receipts: dict[str, Receipt] = {}
        self._call_of: dict[Any, str] = {}

    async def enter(self, call: ProposedCall) -> Verdict:
        if call.call_id in self.receipts:
            return self.receipts[call.call_id]
        if call.call_id not in {each.call_id for each in self.proposed}:
            self.proposed.append(call)
        if call.problem:
            return Receipt(content=call.problem, ok=False)
        return self.decide(call) or self.grant(call)

    def grant(self, call: ProposedCall) -> Grant:
        grant = Grant(
            id=uuid4(), arguments=json.loads(call.arguments), attempt=1, idempotency_key=f"key-{call.call_id}"
        )
        self._call_of[grant.id] = call.call_id
        return grant

    async def settle(self, grant: Grant, receipt: Receipt) -> None:
        self.receipts[self._call_of[grant.id]] = receipt

    @asynccontextmanager
    async def transaction(self, grant: Grant) -> AsyncIterator[FakeTransaction]:
        async with self.database.connection() as connection, connection.transaction():
            yield FakeTransaction(connection)
