"""At the end of a run that tried seeded bugs: what caught each of them."""

from __future__ import annotations

from typing import Any

from tests.torture.seeded_bugs import results, table

TRIED = "test_a_seeded_bug_is_caught"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for each in ("passed", "failed") for report in terminalreporter.stats.get(each, [])]
    if any(TRIED in report.nodeid for report in reports):
        terminalreporter.section("seeded bugs")
        terminalreporter.write_line(table(results()))
