"""Processes killed or frozen at the worst moment: no effect happens twice, none is lost in silence.

One installation for all of these tests. Its desk stops where a test says (tests/system/stoppable/desk.py); every test
leaves one worker running.
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.stack import Person, Stack, decide, eventually, running

GRAPHS = Path(__file__).with_name("stoppable") / "langgraph.json"
# Counts every change of an order, so that a second one with the same outcome is seen too.
COUNT_CHANGES = """
CREATE TABLE shop.changes (order_number integer NOT NULL);
GRANT INSERT ON shop.changes TO gatehouse_worker;
GRANT SELECT ON shop.changes TO gatehouse_admin;
CREATE FUNCTION shop.count_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO shop.changes VALUES (NEW.number);
    RETURN NEW;
END $$;
CREATE TRIGGER count_change AFTER UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.count_change();
"""


@dataclass(kw_only=True)
class Asked:
    """A conversation whose one call waits for a decision."""

    conversation: str
    review: dict[str, Any]
    order: int = 0

    @property
    def call(self) -> str:
        return str(self.review["call_id"])


@dataclass(kw_only=True)
class Desk:
    """The installation, and the places where its workers stop."""

    stack: Stack
    stops: Path
    orders: Iterator[int]
    mails: Iterator[int] = field(default_factory=lambda: iter(range(1000)))

    @property
    def member(self) -> Person:
        return self.stack.person("member@acme.example")

    @property
    def reviewer(self) -> Person:
        return self.stack.person("reviewer@acme.example")

    def ask(self, what: str) -> Asked:
        """Have the agent ask for a refund, a mail or a cancellation, and wait until a person is asked."""
        order = next(self.orders)
        text = {
            "refund": f"refund 5 on order {order}",
            "mail": f"email customer{next(self.mails)}@example.com about the delay",
            "cancel": f"cancel order {order}",
        }[what]
        conversation = self.member.start(text)
        self.until(conversation, "waiting")
        [review] = self.stack.requests(conversation)
        return Asked(conversation=conversation, review=review, order=order)

    def until(self, conversation: str, status: str) -> None:
        """Patiently: a worker may have to start first, on a machine that has more to do."""
        self.stack.until(conversation, status, seconds=60)

    def approve(self, asked: Asked) -> None:
        assert decide(self.reviewer, asked.review, "approve").status_code == 302

    def stop_at(self, name: str, place: str) -> None:
        (self.stops / name).write_text(place)

    def stopped_in(self, asked: Asked, place: str) -> None:
        """Approve the call and wait until its effect has come to `place`."""
        self.stop_at(asked.call, place)
        self.approve(asked)
        self.reached(asked.call)

    def reached(self, name: str) -> None:
        eventually((self.stops / f"{name}.reached").exists, seconds=60, what=f"{name} has come to its stop")

    def forget_reached(self) -> None:
        for mark in self.stops.glob("*.reached"):
            mark.unlink()

    def go_on(self) -> None:
        for stop in self.stops.iterdir():
            stop.unlink()

    def call(self, asked: Asked) -> dict[str, Any]:
        return self.stack.row("SELECT * FROM calls_toolcall WHERE id = %s", asked.call)

    def refunds(self, asked: Asked) -> int:
        query = "SELECT count(*) FROM shop.refunds WHERE idempotency_key LIKE %s"
        return int(self.stack.row(query, f"{asked.call}:%")["count"])

    def mails_of(self, asked: Asked) -> int:
        query = "SELECT count(*) FROM shop.outbox WHERE idempotency_key LIKE %s"
        return int(self.stack.row(query, f"{asked.call}:%")["count"])

    def changes(self, asked: Asked) -> int:
        return int(self.stack.row("SELECT count(*) FROM shop.changes WHERE order_number = %s", asked.order)["count"])

    def happened(self, asked: Asked, action: str) -> bool:
        query = "SELECT 1 FROM audit_auditevent WHERE subject_id = %s AND action = %s"
        return bool(self.stack.rows(query, asked.call, action))

    def outcome_request(self, asked: Asked) -> dict[str, Any]:
        """The question that an interrupted `once` effect leads to."""
        self.until(asked.conversation, "waiting")
        [review] = self.stack.requests(asked.conversation)
        assert review["kind"] == "outcome"
        return review

    @property
    def worker(self) -> subprocess.Popen[bytes]:
        """The one that every test finds running, and leaves."""
        return self.stack.workers[0]

    def freeze(self) -> None:
        """Stop the worker where it is, its connections open; what it waits for goes on without it."""
        self.worker.send_signal(signal.SIGSTOP)
        self.go_on()

    def thaw(self) -> None:
        self.worker.send_signal(signal.SIGCONT)

    def lose(self, worker: subprocess.Popen[bytes]) -> None:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        self.stack.workers.remove(worker)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    stops = tmp_path_factory.mktemp("stops")
    folder = tmp_path_factory.mktemp("stack")
    with running(folder, GATEHOUSE_GRAPHS=str(GRAPHS), GATEHOUSE_TEST_STOPS=str(stops)) as stack:
        with psycopg.connect(stack.environment["DATABASE_OWNER_URL"], autocommit=True) as owner:
            owner.execute(COUNT_CHANGES)
        orders = stack.rows(
            """SELECT number FROM shop.orders o JOIN tenants_tenant t ON t.id = o.tenant_id
               WHERE t.slug = 'acme' AND o.status = 'processing' ORDER BY number"""
        )
        yield Desk(stack=stack, stops=stops, orders=iter([row["number"] for row in orders]))


@pytest.fixture(autouse=True)
def one_worker(desk: Desk) -> Iterator[None]:
    """Leave the first worker running and alone, also when a test fails half-way."""
    yield
    desk.go_on()
    desk.thaw()
    for other in desk.stack.workers[1:]:
        desk.lose(other)


@dataclass(kw_only=True)
class Wreck:
    """What was under way when the worker was killed, and again when the one after it was."""

    effects: dict[tuple[str, str], Asked]
    mails: dict[str, Asked]  # by the answer that a test will give
    streaming: str
    not_yet_run: Asked


@pytest.fixture(scope="module")
def wreck(desk: Desk) -> Wreck:
    """Kill a worker in the middle of everything, kill its successor in the middle of that, and start a third."""
    effects = {(what, place): desk.ask(what) for what in ("refund", "cancel") for place in ("before", "after")}
    mails = {answer: desk.ask("mail") for answer in ("respond", "reject", "approve")}
    never_sent, not_yet_run = desk.ask("mail"), desk.ask("mail")
    desk.stop_at("model", "")
    streaming = desk.member.start("show order 1041 slowly")
    for (_, place), asked in effects.items():
        desk.stopped_in(asked, place)
    for asked in mails.values():
        desk.stopped_in(asked, "after")
    desk.stopped_in(never_sent, "before")
    desk.reached("model")

    desk.lose(desk.worker)
    desk.forget_reached()
    successor = desk.stack.start_worker()
    for asked in effects.values():
        desk.reached(asked.call)
    desk.reached("model")
    for asked in (*mails.values(), never_sent):
        desk.outcome_request(asked)
    successor.send_signal(signal.SIGSTOP)
    desk.approve(not_yet_run)
    desk.lose(successor)
    desk.go_on()
    desk.stack.start_worker()
    return Wreck(
        effects=effects, mails={**mails, "never sent": never_sent}, streaming=streaming, not_yet_run=not_yet_run
    )


def test_a_call_approved_before_the_kill_runs_exactly_once_after_it(desk: Desk, wreck: Wreck) -> None:
    desk.until(wreck.not_yet_run.conversation, "succeeded")
    assert desk.mails_of(wreck.not_yet_run) == 1
    assert desk.call(wreck.not_yet_run)["attempt"] == 1


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_refund_killed_twice_in_its_effect_is_counted_once(desk: Desk, wreck: Wreck, place: str) -> None:
    asked = wreck.effects["refund", place]
    desk.until(asked.conversation, "succeeded")
    assert desk.refunds(asked) == 1
    assert desk.call(asked)["status"] == "done"
    assert desk.call(asked)["attempt"] == 1, "taken over under the same allowance, with the same key"


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_transactional_effect_killed_twice_happens_exactly_once(desk: Desk, wreck: Wreck, place: str) -> None:
    asked = wreck.effects["cancel", place]
    desk.until(asked.conversation, "succeeded")
    assert desk.changes(asked) == 1
    assert desk.call(asked)["status"] == "done", desk.call(asked)["result"]


@pytest.mark.parametrize(
    ("answer", "status", "mails", "attempt"),
    [("respond", "done", 1, 1), ("reject", "failed", 1, 1), ("approve", "done", 2, 2)],
    ids=["it happened", "give up", "run it again"],
)
def test_a_mail_killed_after_it_was_sent_is_sent_again_only_by_a_person(
    desk: Desk, wreck: Wreck, answer: str, status: str, mails: int, attempt: int
) -> None:
    asked = wreck.mails[answer]
    review = desk.outcome_request(asked)
    assert (desk.call(asked)["status"], desk.mails_of(asked)) == ("unknown", 1)
    assert decide(desk.reviewer, review, answer, feedback="seen in the outbox").status_code == 302
    desk.until(asked.conversation, "succeeded")
    call = desk.call(asked)
    assert (call["status"], desk.mails_of(asked), call["attempt"]) == (status, mails, attempt)
    assert ("seen in the outbox" in call["result"]) == (answer != "approve"), call["result"]


def test_a_mail_killed_before_it_was_sent_is_unknown_until_a_person_lets_it_run(desk: Desk, wreck: Wreck) -> None:
    asked = wreck.mails["never sent"]
    review = desk.outcome_request(asked)
    assert (desk.call(asked)["status"], desk.mails_of(asked)) == ("unknown", 0)
    assert decide(desk.reviewer, review, "approve").status_code == 302
    desk.until(asked.conversation, "succeeded")
    assert desk.mails_of(asked) == 1


def test_an_answer_cut_off_by_kills_is_told_once_and_in_full(desk: Desk, wreck: Wreck) -> None:
    desk.until(wreck.streaming, "succeeded")
    told = desk.stack.rows(
        "SELECT text, complete FROM conversations_message WHERE conversation_id = %s AND author = 'agent'"
        " ORDER BY created_at",
        wreck.streaming,
    )
    assert [message["complete"] for message in told] == [True, True]
    assert told[0]["text"] == "I will look that order up: 1041."
    assert told[1]["text"].startswith("Order 1041 is delivered.")


def test_no_call_was_attempted_more_often_than_people_allowed(desk: Desk, wreck: Wreck) -> None:
    desk.until(wreck.streaming, "succeeded")
    allowed = desk.stack.rows(
        """SELECT c.id, c.attempt, count(d.id) AS approvals FROM calls_toolcall c
             JOIN reviews_reviewrequest q ON q.call_id = c.id
             LEFT JOIN reviews_decision d ON d.request_id = q.id AND d.verdict IN ('approve', 'edit')
            GROUP BY c.id"""
    )
    assert allowed
    assert [call for call in allowed if call["attempt"] > call["approvals"]] == []


def test_web_killed_on_the_commit_of_a_decision_loses_nothing(desk: Desk) -> None:
    asked = desk.ask("refund")
    sending = threading.Thread(target=_approve_whatever_comes_back, args=(desk, asked))
    sending.start()
    eventually(lambda: desk.stack.rows("SELECT 1 FROM reviews_decision WHERE request_id = %s", asked.review["id"]))
    assert desk.stack.web
    desk.stack.web.kill()
    desk.stack.web.wait()
    sending.join()
    desk.until(asked.conversation, "succeeded")
    desk.stack.start_web()
    eventually(lambda: _is_up(desk.stack), seconds=60)
    assert decide(desk.reviewer, asked.review, "approve").status_code == 302, "a second click shows the first's result"
    assert len(desk.stack.rows("SELECT 1 FROM reviews_decision WHERE request_id = %s", asked.review["id"])) == 1
    assert desk.refunds(asked) == 1


def test_a_worker_frozen_past_its_lease_adds_nothing_when_it_wakes(desk: Desk) -> None:
    asked = desk.ask("refund")
    desk.stopped_in(asked, "before")
    desk.freeze()
    desk.stack.start_worker()
    desk.until(asked.conversation, "succeeded")
    left_by_the_second = _all_that_stands(desk, asked.conversation)
    desk.thaw()
    eventually(lambda: desk.happened(asked, "call.late_receipt"), seconds=60, what="the stale receipt is recorded")
    assert desk.refunds(asked) == 1
    assert _all_that_stands(desk, asked.conversation) == left_by_the_second


def test_a_worker_frozen_in_mid_sentence_writes_nothing_when_it_wakes(desk: Desk) -> None:
    desk.stop_at("model", "")
    conversation = desk.member.start("show order 1042 slowly")
    desk.reached("model")
    desk.freeze()
    desk.stack.start_worker()
    desk.until(conversation, "succeeded")
    left_by_the_second = _all_that_stands(desk, conversation)
    desk.thaw()
    eventually(lambda: _has_no_drive(desk, conversation), what="the woken worker has given its drive up")
    assert _all_that_stands(desk, conversation) == left_by_the_second


def test_a_receipt_that_comes_late_answers_the_question_what_happened(desk: Desk) -> None:
    asked = desk.ask("mail")
    desk.stopped_in(asked, "after")
    desk.freeze()
    desk.stack.start_worker()
    review = desk.outcome_request(asked)
    desk.thaw()
    eventually(lambda: desk.call(asked)["status"] == "done", what="the late receipt is accepted")
    desk.until(asked.conversation, "succeeded")
    assert desk.stack.row("SELECT status FROM reviews_reviewrequest WHERE id = %s", review["id"])["status"] != "pending"
    assert desk.mails_of(asked) == 1


def test_a_worker_frozen_inside_a_transaction_does_not_hold_up_the_others(desk: Desk) -> None:
    asked = desk.ask("cancel")
    desk.stopped_in(asked, "after")
    desk.freeze()
    desk.stack.start_worker(WORKER_CONCURRENCY="1")
    _lease_runs_out(desk, asked)
    _defer_drive(desk, asked)
    elsewhere = desk.member.start("show order 1042")
    desk.until(elsewhere, "succeeded")
    desk.thaw()
    desk.until(asked.conversation, "succeeded")
    assert desk.changes(asked) == 1


def _approve_whatever_comes_back(desk: Desk, asked: Asked) -> None:
    with suppress(httpx.TransportError):
        decide(desk.reviewer, asked.review, "approve")


def _is_up(stack: Stack) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{stack.url}/healthz").status_code == 200
    return False


def _all_that_stands(desk: Desk, conversation: str) -> dict[str, Any]:
    tables = ("calls_toolcall", "conversations_run", "conversations_message", "reviews_reviewrequest")
    found: dict[str, Any] = {
        table: desk.stack.rows(
            f"SELECT * FROM {table} WHERE conversation_id = %s ORDER BY created_at, id", conversation
        )
        for table in tables
    }
    return {**found, "checkpoints": _checkpoints(desk, conversation)}


def _checkpoints(desk: Desk, thread: str) -> list[dict[str, Any]]:
    written = desk.stack.rows(
        "SELECT checkpoint_id, checkpoint FROM langgraph.checkpoints WHERE thread_id = %s ORDER BY 1", thread
    )
    return written + desk.stack.rows(
        "SELECT checkpoint_id, task_id, idx, blob FROM langgraph.checkpoint_writes WHERE thread_id = %s"
        " ORDER BY 1, 2, 3",
        thread,
    )


def _has_no_drive(desk: Desk, thread: str) -> bool:
    return not desk.stack.rows(
        "SELECT 1 FROM procrastinate_jobs WHERE status = 'doing' AND args ->> 'thread_id' = %s", thread
    )


def _lease_runs_out(desk: Desk, asked: Asked) -> None:
    query = "SELECT 1 FROM conversations_lease WHERE thread_id = %s AND expires_at < clock_timestamp()"
    eventually(lambda: desk.stack.rows(query, asked.conversation), what="the lease has run out")


def _defer_drive(desk: Desk, asked: Asked) -> None:
    arguments = {"thread_id": asked.conversation, "tenant_id": str(asked.review["tenant_id"])}
    desk.stack.rows(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args)"
        " VALUES ('drive', 'approvals.runner.tasks.drive', %s) RETURNING id",
        json.dumps(arguments),
    )
