"""The figures as a table."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence

from tests.bench.steps import Step
from tests.stack import Stack

PROCESSES = {"web": "web", "worker": "worker", "database": "PostgreSQL"}


def machine(stack: Stack) -> None:
    version = stack.row("SELECT current_setting('server_version') AS version")["version"]
    line("Gatehouse, figures of one run")
    line(f"  {os.cpu_count()} CPUs, Python {platform.python_version()}, PostgreSQL {version},")
    line(f"  one web process, {len(stack.workers)} worker, a model that takes no time")


def throughput(alone: Sequence[float], whole: Sequence[float], share: float, *, at_once: int, cycles: int) -> None:
    title = f"Approval cycles a second, {at_once} conversations at once"
    heading(title, "median", "range")
    row("bare LangGraph, one process", f"{statistics.median(alone):.1f}", _range(alone))
    row("Gatehouse", f"{statistics.median(whole):.1f}", _range(whole))
    ratios = [with_all / without for without, with_all in zip(alone, whole, strict=True)]
    row("ratio (required 0.4, aim 0.8)", f"{statistics.median(ratios):.2f}", _range(ratios, ".2f"))
    line(f"  {len(alone)} rounds of {cycles} cycles each, by turns; the client used {share:.0%} of the CPU")


def steps(found: Sequence[Step], *, number: int) -> None:
    heading("CPU of a cycle's steps, ms", *PROCESSES.values(), "together")
    for step in found:
        _costs(step.name, step.milliseconds)
    _costs("the whole cycle", {name: sum(step.milliseconds[name] for step in found) for name in PROCESSES})
    line(f"  {number} of one step at a time, while nothing else runs")


def waits(found: Mapping[str, Sequence[float]], *, number: int) -> None:
    heading("What people wait for, ms (aim: p95 of 250)", "p50", "p95", "range")
    for name, seconds in found.items():
        taken = sorted(1000 * each for each in seconds)
        twentieths = statistics.quantiles(taken, n=20, method="inclusive")
        row(name, f"{statistics.median(taken):.0f}", f"{twentieths[-1]:.0f}", _range(taken, ".0f"))
    line(f"  {number} times in Chromium, from the click to the frame that shows it; nothing else runs")


def heading(title: str, *columns: str) -> None:
    line("")
    line(f"{title:<46}" + "".join(f"{column:>13}" for column in columns))


def row(name: str, *values: str) -> None:
    line(f"  {name:<44}" + "".join(f"{value:>13}" for value in values))


def line(text: str) -> None:
    print(text, flush=True)


def _costs(name: str, milliseconds: Mapping[str, float]) -> None:
    values = [milliseconds[process] for process in PROCESSES]
    row(name, *(f"{value:.1f}" for value in (*values, sum(values))))


def _range(values: Sequence[float], form: str = ".1f") -> str:
    return f"{min(values):{form}}–{max(values):{form}}"
