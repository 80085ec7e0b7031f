"""`make bench`: figures of one run on this machine. Nothing is asserted about them."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

# A database server of its own: no other test's connections are counted or waited for. Before tests.postgres is imported.
os.environ.setdefault("GATEHOUSE_TEST_HOME", str(Path(__file__).resolve().parents[2] / ".cache" / "bench"))

import tests.postgres  # isort: skip
from tests.bench import bare, pages, product, report, steps
from tests.bench.cpu import Meter, server_pid
from tests.stack import Stack, running

ROUNDS, CYCLES, WARM_UP, AT_ONCE = 3, 240, 64, 16
STEPS, WAITS = 128, 50
AS_SHIPPED = {"LEASE_SECONDS": "30", "SWEEP_SECONDS": "10", "WORKER_CONCURRENCY": "16"}


def main() -> None:
    assert tests.postgres
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), **AS_SHIPPED) as stack:
        report.machine(stack)
        bare.prepare(stack)
        meter = _meter(stack)
        report.throughput(asyncio.run(_throughput(stack, meter)), at_once=AT_ONCE, cycles=CYCLES)
        report.steps(asyncio.run(steps.cost_of_steps(stack, meter, cycles=STEPS, at_once=4)), number=STEPS)
        report.waits(pages.waits(stack, number=WAITS), number=WAITS)


def _meter(stack: Stack) -> Meter:
    assert stack.web is not None
    return Meter(stack.web.pid, stack.workers[0].pid, server_pid(os.environ["DATABASE_OWNER_URL"]))


async def _throughput(stack: Stack, meter: Meter) -> report.Throughput:
    """Bare LangGraph and the product by turns."""
    found = report.Throughput()
    for number in range(-1, ROUNDS):
        measured = number >= 0
        cycles, name = CYCLES if measured else WARM_UP, f"round-{number}"
        meter.start()
        without = await bare.cycles_a_second(stack, cycles=cycles, at_once=AT_ONCE, name=name)
        used_without = meter.since()
        meter.start()
        with_all = await product.cycles_a_second(stack, cycles=cycles, at_once=AT_ONCE, name=name)
        if measured:
            found.add(without, used_without, with_all, meter.since())
    return found


if __name__ == "__main__":
    main()
