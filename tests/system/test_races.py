"""Two people, two workers, one call: one winner, one effect, and a loser who is told the truth."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from subprocess import Popen
from threading import Barrier
from typing import Any

import httpx
import pytest

from agents.canonical import canonical
from approvals.calls.digests import call_digest
from tests.stack import Person, Stack, decide, eventually

RACES = 50  # of each pairing
LABELS = {"approve": "Approved", "edit": "Approved with edits", "reject": "Rejected", "respond": "Answered"}
REVIEWERS = ("reviewer@acme.example", "reviewer2@acme.example")
NAMES = ("Rosa Reviewer", "Ravi Reviewer")
Review = dict[str, Any]


@pytest.fixture(scope="module")
def many_requests(shared_stack: Stack) -> Iterator[Review]:
    """200 open requests: refunds of $1, ten to a message."""
    member = shared_stack.person("member@acme.example")
    numbers = [list(range(first, first + 10)) for first in range(1001, 1201, 10)]
    begun = [member.start(f"refund 1 on orders {', '.join(map(str, ten))}") for ten in numbers]
    reviews = []
    for conversation in begun:
        shared_stack.until(conversation, "waiting", seconds=120)
        reviews += shared_stack.requests(conversation)
    assert len(reviews) == 4 * RACES
    return iter(reviews)


@pytest.fixture
def two_workers(shared_stack: Stack) -> Iterator[Sequence[Popen[bytes]]]:
    """The stack's own and one that ends with the test."""
    known = _workers(shared_stack)
    second = shared_stack.start_worker()
    eventually(lambda: _workers(shared_stack) > known, what="the second worker listens")
    yield shared_stack.workers
    shared_stack.workers.remove(second)
    second.terminate()
    second.wait()


@pytest.mark.parametrize(
    "verdicts",
    [("approve", "approve"), ("approve", "reject"), ("approve", "edit"), ("reject", "respond")],
    ids=" against ".join,
)
def test_one_of_two_reviewers_wins_and_the_other_is_told_who_did(
    shared_stack: Stack, many_requests: Iterator[Review], verdicts: tuple[str, str]
) -> None:
    reviews = [next(many_requests) for _ in range(RACES)]
    winners = [_race(shared_stack, review, verdicts) for review in reviews]
    for conversation in {review["conversation_id"] for review in reviews}:
        shared_stack.until(str(conversation), "succeeded", seconds=120)
    came_to = [_came_to(shared_stack, review) for review in reviews]
    assert came_to == [_expected(verdicts[winner], NAMES[winner]) for winner in winners]


def test_a_job_delivered_eight_times_to_two_workers_has_one_effect(
    shared_stack: Stack, two_workers: Sequence[Popen[bytes]]
) -> None:
    member, reviewer = shared_stack.person("member@acme.example"), shared_stack.person(REVIEWERS[0])
    reviews = [_ask(shared_stack, member, f"email twin{n}@example.com about the delay")[0] for n in range(6)]
    with _frozen(two_workers):
        for review in reviews:
            assert decide(reviewer, review, "approve").status_code == 302
            for _ in range(8):
                _defer_drive(shared_stack, review)
    for review in reviews:
        shared_stack.until(str(review["conversation_id"]), "succeeded")
        assert _effects(shared_stack, review) == 1
        call = _call(shared_stack, review)
        assert (call["status"], call["attempt"]) == ("done", 1)


def test_two_calls_of_one_message_are_decided_apart_and_at_once(shared_stack: Stack) -> None:
    member = shared_stack.person("member@acme.example")
    people = [shared_stack.person(email) for email in REVIEWERS]
    for number in range(8):
        pair = _ask(shared_stack, member, f"refund 1 on orders {1101 + number} and {1151 + number}")
        assert len(pair) == 2
        sent, refused = pair if number % 2 else reversed(pair)
        answers = _at_once([(people[0], sent, "approve", {}), (people[1], refused, "reject", {"feedback": "no"})])
        assert [answer.status_code for answer in answers] == [302, 302]
        shared_stack.until(str(sent["conversation_id"]), "succeeded")
        assert (_effects(shared_stack, sent), _effects(shared_stack, refused)) == (1, 0)
        assert _call(shared_stack, refused)["status"] == "rejected"


def test_messages_sent_while_their_runs_pause_are_all_taken(shared_stack: Stack) -> None:
    """Sending and pausing lock the same rows, and both write the audit chain: in another order they would deadlock."""
    member = shared_stack.person("member@acme.example")
    begun = [member.start(f"email m{number}@example.com about the delay") for number in range(8)]
    with ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(lambda each: _send_three(member, each), begun))
    assert taken == [[302, 302, 302]] * len(begun)
    for conversation in begun:
        assert len(shared_stack.rows("SELECT 1 FROM conversations_run WHERE conversation_id = %s", conversation)) == 4
        first = "SELECT 1 FROM conversations_run WHERE conversation_id = %s AND position = 1 AND status = 'waiting'"
        eventually(partial(shared_stack.rows, first, conversation), what="the first run waits, the others behind it")


def _send_three(member: Person, conversation: str) -> list[int]:
    sent = [
        member.submit(f"/t/acme/chat/{conversation}/", text=f"show order {number}") for number in (1041, 1042, 1043)
    ]
    return [answer.status_code for answer in sent]


def _race(stack: Stack, review: Review, verdicts: tuple[str, str]) -> int:
    """Send both verdicts at once; who won, after looking at what the other one was told."""
    answers = _at_once(
        [
            (stack.person(email), review, verdict, _fields(stack, review, verdict))
            for email, verdict in zip(REVIEWERS, verdicts, strict=True)
        ]
    )
    assert sorted(answer.status_code for answer in answers) == [302, 409]
    winner = [answer.status_code for answer in answers].index(302)
    told = answers[1 - winner].text
    conflict = told[told.index('id="conflict"') : told.index('id="changed"')]
    assert "Already decided" in conflict
    assert f"{LABELS[verdicts[winner]]} by {NAMES[winner]}" in conflict
    return winner


def _at_once(sendings: Sequence[tuple[Person, Review, str, dict[str, str]]]) -> list[httpx.Response]:
    barrier = Barrier(len(sendings))

    def send(sending: tuple[Person, Review, str, dict[str, str]]) -> httpx.Response:
        person, review, verdict, fields = sending
        barrier.wait(timeout=30)
        return decide(person, review, verdict, **fields)

    with ThreadPoolExecutor(len(sendings)) as threads:
        return list(threads.map(send, sendings))


def _fields(stack: Stack, review: Review, verdict: str) -> dict[str, str]:
    if verdict != "edit":
        return {"feedback": "because"} if verdict in ("reject", "respond") else {}
    call = _call(stack, review)
    edited = canonical({**json.loads(call["arguments"]), "amount": 0.5})
    digest = call_digest(
        tenant_id=call["tenant_id"],
        run_id=call["run_id"],
        message_id=call["graph_message_id"],
        call_id=call["call_id"],
        tool=call["tool_name"],
        arguments=edited,
    )
    return {"arg-amount": "0.5", "digest": digest}


def _expected(verdict: str, name: str) -> dict[str, Any]:
    amounts = {"approve": ["1.00"], "edit": ["0.50"], "reject": [], "respond": []}[verdict]
    status = {"approve": "done", "edit": "done", "reject": "rejected", "respond": "answered"}[verdict]
    return {"decisions": [(verdict, name)], "refunds": amounts, "status": status}


def _came_to(stack: Stack, review: Review) -> dict[str, Any]:
    decisions = stack.rows(
        "SELECT d.verdict, u.name FROM reviews_decision d JOIN tenants_user u ON u.id = d.reviewer_id"
        " WHERE d.request_id = %s",
        review["id"],
    )
    refunds = stack.rows(
        "SELECT amount::text FROM shop.refunds WHERE idempotency_key LIKE %s", f"{review['call_id']}:%"
    )
    return {
        "decisions": [(each["verdict"], each["name"]) for each in decisions],
        "refunds": [each["amount"] for each in refunds],
        "status": _call(stack, review)["status"],
    }


def _ask(stack: Stack, member: Person, text: str) -> list[Review]:
    conversation = member.start(text)
    stack.until(conversation, "waiting")
    return stack.requests(conversation)


def _call(stack: Stack, review: Review) -> dict[str, Any]:
    return stack.row("SELECT * FROM calls_toolcall WHERE id = %s", review["call_id"])


def _effects(stack: Stack, review: Review) -> int:
    """Refunds and mails of one call, of all its attempts."""
    query = """SELECT count(*) FROM (SELECT idempotency_key FROM shop.refunds UNION ALL
                                     SELECT idempotency_key FROM shop.outbox) e WHERE idempotency_key LIKE %s"""
    return int(stack.row(query, f"{review['call_id']}:%")["count"])


def _workers(stack: Stack) -> int:
    return int(stack.row("SELECT count(*) FROM procrastinate_workers")["count"])


def _defer_drive(stack: Stack, review: Review) -> None:
    arguments = {"thread_id": str(review["thread_id"]), "tenant_id": str(review["tenant_id"])}
    stack.rows(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args)"
        " VALUES ('drive', 'approvals.runner.tasks.drive', %s) RETURNING id",
        json.dumps(arguments),
    )


@contextmanager
def _frozen(workers: Sequence[Popen[bytes]]) -> Iterator[None]:
    """They wake up together, to everything that was left for them meanwhile."""
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGCONT)
