"""Every seeded bug can still be put in; and, in the long run, every one of them is caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.seeded_bugs import (
    BUGS,
    CHECKOUT,
    Bug,
    Result,
    copy_checkout,
    keep,
    key_of,
    results,
    run_tests,
    try_bug,
)

TESTS = sorted({bug.caught_by for bug in BUGS})
CONTROL = "(no bug)"


def test_each_bug_still_has_its_place() -> None:
    gone = [bug.name for bug in BUGS if (CHECKOUT / bug.path).read_text().count(bug.old) != 1]
    assert gone == [], "the code has changed: write the bug anew, or take it off the list"
    assert [bug.name for bug in BUGS if bug.old == bug.new] == []


def test_there_are_enough_bugs_and_each_has_a_name_of_its_own() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 48
    assert {bug.promise for bug in BUGS} == {f"G{number}" for number in range(1, 10)}  # G10 is a document


def test_each_bug_names_a_test_that_is_there() -> None:
    for bug in BUGS:
        file, _, test = bug.caught_by.partition("::")
        assert f"def {test.partition('[')[0]}" in (CHECKOUT / file).read_text(), bug.name


@pytest.mark.torture
def test_without_a_bug_the_same_tests_pass(tmp_path: Path) -> None:
    copy_checkout(tmp_path)
    key = key_of(TESTS, checkout=tmp_path)
    known = results().get(CONTROL)
    if known is None or known.key != key or not known.caught:
        code, said = run_tests(tmp_path, TESTS, seconds=1800)
        keep(CONTROL, Result(key=key, caught=code == 0, test="", why=said[-3000:], seconds=0))
        assert code == 0, said[-3000:]


@pytest.mark.torture
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_seeded_bug_is_caught(bug: Bug, tmp_path: Path) -> None:
    known = results().get(bug.name)
    if known is None or not known.caught or known.key != key_of([bug.caught_by], bug):
        known = try_bug(bug, tmp_path)
        keep(bug.name, known)
    assert known.caught, f"{bug.caught_by} does not see it: {known.test} {known.why}"
