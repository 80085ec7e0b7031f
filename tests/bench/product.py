"""Approval cycles through the product: over HTTP, with its own processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tests.bench.client import Line, Watch
from tests.stack import Person, Stack

QUEUE = "/t/acme/queue/"
CHAT = "/t/acme/chat/"


def prompt(name: str) -> str:
    """One e-mail, which asks: a model call, a pause, an effect, a model call."""
    return f"Email {name}@example.com: Your parcel left our warehouse today and arrives on Friday."


@dataclass(kw_only=True)
class Desk:
    """A member who writes and a reviewer who approves."""

    member: Person
    reviewer: Person
    agent: str
    watch: Watch

    @classmethod
    @asynccontextmanager
    async def of(cls, stack: Stack, *, interval: float) -> AsyncIterator[Desk]:
        async with Watch(stack.environment["DATABASE_ADMIN_URL"], interval) as watch:
            yield cls(
                member=stack.person("member@acme.example"),
                reviewer=stack.person("reviewer@acme.example"),
                agent=stack.agent_id("acme", "Support desk"),
                watch=watch,
            )

    async def send(self, line: Line, name: str) -> str:
        address = await line.post(self.member, CHAT, agent=self.agent, text=prompt(name))
        return address.rstrip("/").rsplit("/", 1)[1]

    async def approve(self, line: Line, request: str, digest: str) -> None:
        await line.post(self.reviewer, f"{QUEUE}{request}/decide/", verdict="approve", digest=digest)

    async def cycle(self, line: Line, name: str) -> None:
        conversation = await self.send(line, name)
        asked = await self.watch.paused(conversation)
        await self.approve(line, asked["request"], asked["digest"])
        await self.watch.ended(conversation)


async def cycles_a_second(stack: Stack, *, cycles: int, at_once: int, name: str) -> float:
    async with Desk.of(stack, interval=0.01) as desk, lines(stack.url, at_once) as opened:
        return await rate(cycles, [lambda number, line=line: desk.cycle(line, f"{name}-{number}") for line in opened])


@asynccontextmanager
async def lines(url: str, number: int) -> AsyncIterator[list[Line]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Line(url)) for _ in range(number)]


async def rate(cycles: int, conversations: list[Callable[[int], Awaitable[None]]]) -> float:
    """How many a second, when so many conversations share the cycles."""
    numbers = iter(range(cycles))

    async def converse(cycle: Callable[[int], Awaitable[None]], numbers: Iterator[int]) -> None:
        for number in numbers:
            await cycle(number)

    began = time.perf_counter()
    await asyncio.gather(*(converse(cycle, numbers) for cycle in conversations))
    return cycles / (time.perf_counter() - began)
