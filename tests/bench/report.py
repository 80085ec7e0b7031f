"""The figures as a table."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.bench.steps import Step
from tests.stack import Stack

PROCESSES = {"web": "web", "worker": "worker", "database": "PostgreSQL"}


def machine(stack: Stack) -> None:
    version = stack.row("SELECT current_setting('server_version') AS version")["version"]
    line("Gatehouse, figures of one run")
    line(f"  {os.cpu_count()} CPUs, Python {platform.python_version()}, PostgreSQL {version},")
    line(f"  one web process, {len(stack.workers)} worker, a model that takes no time")


@dataclass
class Throughput:
    """Rounds of the same work, and who used the CPU meanwhile."""

    alone: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    clients: list[float] = field(default_factory=list)
    strangers: list[float] = field(default_factory=list)

    def add(self, alone: float, used: Mapping[str, float], whole: float, used_by_all: Mapping[str, float]) -> None:
        self.alone.append(alone)
        self.whole.append(whole)
        self.clients.append(used_by_all["client"] / _ours(used_by_all))
        self.strangers += [1 - _ours(each) / each["everybody"] for each in (used, used_by_all)]


def throughput(found: Throughput, *, at_once: int, cycles: int) -> None:
    alone, whole = found.alone, found.whole
    title = f"Approval cycles a second, {at_once} conversations at once"
    heading(title, "median", "range")
    row("bare LangGraph, one process", f"{statistics.median(alone):.1f}", _range(alone))
    row("Gatehouse", f"{statistics.median(whole):.1f}", _range(whole))
    ratios = [with_all / without for without, with_all in zip(alone, whole, strict=True)]
    row("ratio (required 0.4, aim 0.8)", f"{statistics.median(ratios):.2f}", _range(ratios, ".2f"))
    line(f"  {len(alone)} rounds of {cycles} cycles each, by turns")
    line(f"  of the CPU time, the client took {statistics.mean(found.clients):.0%} of the product's rounds, and")
    line(
        f"  {statistics.mean(found.strangers):.0%} of all was other programs': above a tenth, the figures are not worth much"
    )


def steps(found: Sequence[Step], *, number: int) -> None:
    heading("CPU of a cycle's steps, ms", *PROCESSES.values(), "together")
    for step in found:
        _costs(step.name, step.milliseconds)
    _costs("the whole cycle", {name: sum(step.milliseconds[name] for step in found) for name in PROCESSES})
    line(f"  {number} of one step at a time, while the others wait")


def waits(found: Mapping[str, Sequence[float]], *, number: int) -> None:
    heading("What people wait for, ms (aim: p95 of 250)", "p50", "p95", "range")
    for name, seconds in found.items():
        taken = sorted(1000 * each for each in seconds)
        twentieths = statistics.quantiles(taken, n=20, method="inclusive")
        row(name, f"{statistics.median(taken):.0f}", f"{twentieths[-1]:.0f}", _range(taken, ".0f"))
    line(f"  {number} times in Chromium, from the click to the frame that shows it")


def heading(title: str, *columns: str) -> None:
    line("")
    line(f"{title:<46}" + "".join(f"{column:>13}" for column in columns))


def row(name: str, *values: str) -> None:
    line(f"  {name:<44}" + "".join(f"{value:>13}" for value in values))


def line(text: str) -> None:
    print(text, flush=True)


def _ours(used: Mapping[str, float]) -> float:
    return sum(seconds for name, seconds in used.items() if name != "everybody")


def _costs(name: str, milliseconds: Mapping[str, float]) -> None:
    values = [milliseconds[process] for process in PROCESSES]
    row(name, *(f"{value:.1f}" for value in (*values, sum(values))))


def _range(values: Sequence[float], form: str = ".1f") -> str:
    return f"{min(values):{form}}–{max(values):{form}}"
