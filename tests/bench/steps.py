"""What each step of a cycle costs: many of one step, while nothing else runs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from tests.bench.client import Line
from tests.bench.cpu import Meter
from tests.bench.product import Desk, lines
from tests.stack import Stack

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Step:
    name: str
    milliseconds: Mapping[str, float]  # of CPU, by process


async def cost_of_steps(stack: Stack, meter: Meter, *, cycles: int, at_once: int) -> list[Step]:
    """The worker sleeps while the web process is measured, and the other way round."""
    found: list[Step] = []

    @contextmanager
    def step(name: str) -> Iterator[None]:
        meter.start()
        yield
        found.append(Step(name, {process: 1000 * used / cycles for process, used in meter.since().items()}))

    async with Desk.of(stack, interval=0.05) as desk, lines(stack.url, at_once) as opened:
        with _asleep(stack), step("message POST"):
            begun = await _each(opened, [f"step-{number}" for number in range(cycles)], desk.send)
        with step("drive to the pause"):
            asked = await asyncio.gather(*map(desk.watch.paused, begun))
        with _asleep(stack), step("decision POST"):
            waiting = [(row["request"], row["digest"]) for row in asked]
            await _each(opened, waiting, lambda line, each: desk.approve(line, *each))
        with step("drive to the end"):
            await asyncio.gather(*map(desk.watch.ended, begun))
    return found


async def _each(opened: list[Line], items: Sequence[T], do: Callable[[Line, T], Awaitable[R]]) -> list[R]:
    """`do` for every item, over all lines."""
    left = list(enumerate(items))
    done: dict[int, R] = {}

    async def work(line: Line) -> None:
        while left:
            number, item = left.pop()
            done[number] = await do(line, item)

    await asyncio.gather(*map(work, opened))
    return [done[number] for number in range(len(items))]


@contextmanager
def _asleep(stack: Stack) -> Iterator[None]:
    for worker in stack.workers:
        worker.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for worker in stack.workers:
            worker.send_signal(signal.SIGCONT)
