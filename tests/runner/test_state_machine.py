"""Random histories of one conversation on the real ledger and the real actions; after each step the invariants, as SQL.

And proof that it can see: with one guard of the claim left out it has to find the break. Hypothesis chooses what happens
and to what; the world's table counts effects outside the product. Time passes by shifting what is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, ClassVar
from uuid import UUID

import psycopg
import pytest
from django.db import IntegrityError
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agents.contracts import Effect, Grant, ProposedCall, Rerun
from approvals.conversations.actions import send_message
from approvals.conversations.models import Hold
from approvals.policies.evaluation import judge
from approvals.reviews.actions import Invalid, Stale, TooLate, expire, lift_hold, place_hold, stop_run, undo, withdraw
from approvals.reviews.models import ReviewRequest, Verdict
from approvals.runner import ledger as ledgers
from approvals.runner import outcomes
from approvals.runner.ledger import NoLongerOurs, PostgresLedger
from approvals.tenants.models import Membership, User
from tests import invariants
from tests.runner.test_ledger import effect_in_transaction
from tests.runner.workbench import Bench, card, proposed

TOOLS = {
    1: card("refund"),
    2: card("ship", rerun=Rerun.IDEMPOTENT),
    3: card("book", rerun=Rerun.TRANSACTIONAL),
    4: card("look_up", rerun=Rerun.READ, effect=Effect.READS),
}
NUMBERS = st.sampled_from([1, *TOOLS, 1])  # the one that asks and runs once, more often
REVIEWERS = st.sampled_from(["rosa", "adam"])
CHANGES = ["role", "account", "policy", "tool", "graph", "late", "early", "hand", "again", "stop", "crash", "hold"]
CHANGES += ["stale", "self", ""]
REFUSED = (TooLate, Stale, Invalid)


@dataclass
class Claimed:
    """A grant that somebody holds: this drive, or one that died without a receipt."""

    ledger: PostgresLedger
    grant: Grant
    rerun: Rerun
    happened: bool = False
    settled: bool = False


@dataclass
class Policy:
    version: str = "p1"
    changes: int = field(default=0)


class Desk(RuleBasedStateMachine):
    make_bench: ClassVar[Callable[..., Bench]]
    policy: ClassVar[Policy]

    def __init__(self) -> None:
        super().__init__()
        self.bench = self.make_bench(undo_seconds=60)
        self.policy.version = "p1"
        self.bench.publish(TOOLS[1])
        self.tools = dict(TOOLS)
        self.driving = False
        self.claimed: list[Claimed] = []
        self.lost: list[Claimed] = []
        self.dead: list[PostgresLedger] = []
        Membership.objects.filter(user=self.bench.mia).update(role=Membership.Role.REVIEWER)  # but never of her own

    # the worker

    def take_turn(self) -> None:
        """Begin to drive, if the run is due."""
        bench = self.bench
        bench.sql("UPDATE conversations_run SET wake_at = now() WHERE id = %s AND wake_at > now()", bench.run_id)
        epoch = bench.take_lease()
        with bench.scope():
            turn = outcomes.begin_turn(thread_id=bench.thread_id, epoch=epoch)
        self.driving = turn is not None
        if turn is not None:
            bench.run_id, bench.ledger = turn.run_id, bench.ledger_of(epoch, turn.run_id)

    def enter_call(self, number: int) -> None:
        call: ProposedCall = proposed(number, tool=self.tools[number])
        try:
            entered = self.bench.enter(call)
        except NoLongerOurs:
            self.lose()
            return
        if isinstance(entered, Grant):
            self.check_claim(entered, call)
            self.claimed.append(Claimed(self.bench.ledger, entered, TOOLS[number].manifest.rerun))  # type: ignore[union-attr]

    def check_claim(self, grant: Grant, call: ProposedCall) -> None:
        """I8, at the only moment when it can be told; and that nothing was held, too early or too late."""
        now = (self.policy.version, call.tool.version, self.bench.graph_version)
        problems = self.bench.rows(CLAIMED_WRONGLY, *now, grant.id)
        assert not problems, [row["what"] for row in problems]

    def let_happen(self, claimed: Claimed) -> None:
        if claimed.happened:
            return
        claimed.happened = True
        if claimed.rerun is Rerun.TRANSACTIONAL:
            claimed.settled = True
            row = self.bench.done(claimed.grant)
            with suppress(NoLongerOurs):
                self.bench.loop.run(effect_in_transaction(claimed.ledger, claimed.grant, row=row))
        else:
            self.bench.effect(claimed.grant)

    def settle_one(self, claimed: Claimed, *, ok: bool = True) -> None:
        self.let_happen(claimed)
        if not claimed.settled:
            claimed.settled = True
            if claimed.ledger.on_late_receipt is None:
                claimed.ledger.on_late_receipt = self.note_late_receipt
            self.bench.settle(claimed.grant, "done", ok=ok, ledger=claimed.ledger)

    async def note_late_receipt(self, call_id: UUID) -> None:
        self.noted.append(call_id)

    noted: ClassVar[list[UUID]] = []

    def tell_late_receipts(self) -> None:
        with self.bench.scope():
            while self.noted:
                outcomes.note_late_receipt(self.noted.pop())

    def lose(self) -> None:
        if self.driving:
            self.dead.append(self.bench.ledger)
        self.lost += [each for each in self.claimed if not each.settled]
        self.claimed.clear()
        self.driving = False

    def pause(self) -> None:
        for each in self.claimed:
            self.settle_one(each)
        self.claimed.clear()
        if self.bench.ledger.questions:
            self.bench.suspend()
        else:  # nothing interrupted the graph
            self.bench.ended(outcomes.finish)
        self.driving = False

    @rule(numbers=st.lists(NUMBERS, min_size=1, max_size=3, unique=True))
    def drive_until_it_pauses(self, numbers: list[int]) -> None:
        if not self.driving:
            self.take_turn()
        for number in numbers:
            if self.driving:
                self.enter_call(number)
        if self.driving:
            self.pause()

    @precondition(lambda self: not self.driving)
    @rule()
    def begin(self) -> None:
        self.take_turn()

    @precondition(lambda self: self.driving)
    @rule(number=NUMBERS)
    def enter(self, number: int) -> None:
        self.enter_call(number)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def effect(self, data: st.DataObject) -> None:
        self.let_happen(data.draw(st.sampled_from(self.claimed)))

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), ok=st.booleans())
    def settle(self, data: st.DataObject, ok: bool) -> None:
        self.settle_one(data.draw(st.sampled_from(self.claimed)), ok=ok)

    @precondition(lambda self: self.driving)
    @rule()
    def suspend(self) -> None:
        self.pause()

    @precondition(lambda self: self.driving)
    @rule(number=NUMBERS, happened=st.booleans())
    def crash_in_the_effect(self, number: int, happened: bool) -> None:
        """The worker dies; the next one finds the run as it was left."""
        self.enter_call(number)
        for each in self.claimed if happened else ():
            self.let_happen(each)
        self.lose()

    @precondition(lambda self: self.driving)
    @rule()
    def crash(self) -> None:
        self.lose()

    @precondition(lambda self: self.driving)
    @rule()
    def lose_the_receipts_but_not_the_lease(self) -> None:
        """Another turn under the same epoch."""
        self.lose()
        with self.bench.scope():
            outcomes.try_again(run_id=self.bench.run_id, epoch=self.bench.ledger.epoch, reason="the connection broke")
        self.bench.sql("UPDATE conversations_run SET wake_at = now(), failures = 0 WHERE id = %s", self.bench.run_id)
        with self.bench.scope():
            turn = outcomes.begin_turn(thread_id=self.bench.thread_id, epoch=self.bench.ledger.epoch)
        if turn is not None:
            self.bench.ledger, self.driving = self.bench.ledger_of(self.bench.ledger.epoch, turn.run_id), True

    @precondition(lambda self: self.lost)
    @rule(data=st.data(), ok=st.booleans())
    def a_dead_worker_wakes_up(self, data: st.DataObject, ok: bool) -> None:
        """It was only slow: its effect and its receipt come late."""
        late = data.draw(st.sampled_from(self.lost))
        self.lost.remove(late)
        self.settle_one(late, ok=ok)
        self.tell_late_receipts()

    @precondition(lambda self: self.dead)
    @rule(data=st.data(), number=NUMBERS)
    def a_dead_worker_goes_on(self, data: st.DataObject, number: int) -> None:
        """It did not notice that it lost the lease; it notices now."""
        dead = data.draw(st.sampled_from(self.dead))
        self.lose()
        self.take_turn()
        self.a_dead_worker_enters(dead, number)

    def a_dead_worker_enters(self, dead: PostgresLedger, number: int) -> None:
        with pytest.raises(NoLongerOurs):
            self.bench.loop.run(dead.enter(proposed(number, tool=self.tools[number])))

    @precondition(lambda self: self.driving)
    @rule()
    def finish(self) -> None:
        """A graph may end without its calls: another client sent it past them."""
        for each in self.claimed:
            self.settle_one(each)
        self.claimed.clear()
        self.bench.ended(outcomes.finish)
        self.driving = False

    @precondition(lambda self: not self.driving)
    @rule()
    def ask_for_more(self) -> None:
        """The next turn of the conversation, once this one has ended."""
        if self.bench.the_run().is_unfinished:
            return
        with self.bench.scope():
            run = send_message(conversation=self.bench.the_run().conversation, user=self.bench.mia, text="And now?")
        self.bench.run_id = run.pk

    # people

    def requests(self, **which: Any) -> list[ReviewRequest]:
        with self.bench.scope():
            found = ReviewRequest.objects.filter(run_id=self.bench.run_id, **which)
            return list(found.select_related("call").order_by("number"))

    def answer(self, review: ReviewRequest, verdict: Verdict, who: str, amount: int = 9) -> None:
        more: dict[str, Any] = {"arguments": {"order": 1, "amount": amount}} if verdict == Verdict.EDIT else {}
        with suppress(*REFUSED):
            self.bench.decide(verdict, by=getattr(self.bench, who), review=review, **more)

    @rule(who=REVIEWERS, time_passes=st.booleans())
    def approve_everything(self, who: str, time_passes: bool) -> None:
        for review in self.requests(status="pending"):
            self.answer(review, Verdict.APPROVE, who)
        if time_passes:
            self.bench.later()

    @rule(data=st.data(), verdict=st.sampled_from(Verdict), who=st.sampled_from(["rosa", "adam", "mia"]))
    def decide(self, data: st.DataObject, verdict: Verdict, who: str) -> None:
        """On any request, also one that is closed: the page may be old. `mia` asked for it; the claim has to notice."""
        if found := self.requests():
            self.answer(data.draw(st.sampled_from(found)), verdict, who, amount=data.draw(st.integers(6, 8)))

    @rule(data=st.data(), who=REVIEWERS)
    def undo(self, data: st.DataObject, who: str) -> None:
        if found := self.requests(status="decided"):
            review = data.draw(st.sampled_from(found))
            with suppress(*REFUSED), self.bench.scope():
                undo(review=review, by=getattr(self.bench, who))

    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        if found := self.requests(status="pending"):
            review = data.draw(st.sampled_from(found))
            self.bench.sql("UPDATE reviews_reviewrequest SET decide_by = now() WHERE id = %s", review.pk)
            with self.bench.scope():
                expire(review=review)

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        if found := self.requests():
            review = data.draw(st.sampled_from(found))
            with suppress(*REFUSED), self.bench.scope():
                withdraw(review=review, by=self.bench.mia)

    @rule()
    def stop(self) -> None:
        with self.bench.scope():
            stop_run(run=self.bench.the_run(), by=self.bench.mia)

    @rule()
    def hold(self) -> None:
        with self.bench.scope():
            place_hold(tenant=self.bench.tenant, by=self.bench.adam, reason="wait")

    @rule()
    def lift(self) -> None:
        with self.bench.scope():
            for standing in Hold.objects.filter(lifted_at=None):
                lift_hold(hold=standing, by=self.bench.adam)

    # what changes meanwhile

    @initialize(change=st.sampled_from(CHANGES), who=REVIEWERS, number=NUMBERS)
    def begin_with_an_approval(self, change: str, who: str, number: int) -> None:
        self.between_approval_and_claim(change, who, number)

    @rule(change=st.sampled_from(CHANGES), who=REVIEWERS, number=NUMBERS)
    def between_approval_and_claim(self, change: str, who: str, number: int) -> None:
        """The way to where an approval is used, with one thing changed on it: so that a short history gets there."""
        self.drive_until_it_pauses([number])
        for review in self.requests(status="pending"):
            self.answer(review, Verdict.APPROVE, "mia" if change == "self" else who)
        if change != "early":
            self.bench.later(execute_by=change == "late")
        if not self.driving:
            self.take_turn()
        if not self.driving:
            return
        self.change(change, who, number)
        self.enter_call(number)
        if not self.driving:
            return
        if change == "again":
            self.put_back(number)
        elif change == "stop":
            self.stop()
            self.enter_call(4)
        elif change == "crash":
            for each in self.claimed:
                self.let_happen(each)
            self.lose()
            self.drive_until_it_pauses([number])

    def change(self, change: str, who: str, number: int) -> None:
        if change == "role":
            self.role_changes(who, may=False)
        elif change == "account":
            self.account_changes(who, active=False)
        elif change == "policy":
            self.policy_changes()
        elif change == "tool":
            self.tool_changes(number)
        elif change == "graph":
            self.graph_changes()
            self.bench.ledger.graph_version = self.bench.graph_version
        elif change == "hold":
            self.hold()
        elif change == "stale":
            self.lose()
            self.take_turn()
            self.a_dead_worker_enters(self.dead[-1], number)
        elif change == "hand":
            self.a_hand_in_the_database(number)

    def put_back(self, number: int) -> None:
        """By hand: an approval that was used is made to look as if it had not been."""
        for each in self.claimed:
            self.settle_one(each)
        self.bench.sql(
            """UPDATE calls_toolcall SET status = 'approved', started_at = NULL
                WHERE run_id = %s AND call_id = %s AND status = 'done' AND attempt > 0""",
            self.bench.run_id,
            f"call-{number}",
        )
        self.enter_call(number)

    @rule(execute_by=st.booleans())
    def time_passes(self, execute_by: bool) -> None:
        self.bench.later(execute_by=execute_by)

    @rule(who=REVIEWERS)
    def everybody_may_again(self, who: str) -> None:
        for name in ("rosa", "adam"):
            self.role_changes(name, may=True)
            self.account_changes(name, active=True)

    def role_changes(self, who: str, *, may: bool) -> None:
        role = Membership.Role.REVIEWER if may else Membership.Role.MEMBER
        Membership.objects.filter(user=getattr(self.bench, who)).update(role=role)

    def account_changes(self, who: str, *, active: bool) -> None:
        User.objects.filter(pk=getattr(self.bench, who).pk).update(is_active=active)

    @rule()
    def policy_changes(self) -> None:
        self.policy.changes += 1
        self.policy.version = f"p{1 + self.policy.changes}"

    @rule(number=NUMBERS)
    def tool_changes(self, number: int) -> None:
        tool = self.tools[number]
        self.tools[number] = replace(tool, version=f"v{int(tool.version[1:]) + 1}")
        self.bench.publish(self.tools[number])

    @rule()
    def graph_changes(self) -> None:
        self.bench.graph_version = f"g{int(self.bench.graph_version[1:]) + 1}"

    @rule(number=NUMBERS)
    def a_hand_in_the_database(self, number: int) -> None:
        """What was approved is exchanged for something else; the claim has to notice."""
        self.bench.sql(
            """UPDATE calls_toolcall SET approved_arguments = '{"amount":5000,"order":1}'
                WHERE run_id = %s AND call_id = %s AND status = 'approved'""",
            self.bench.run_id,
            f"call-{number}",
        )

    # and always

    @invariant()
    def nothing_is_violated(self) -> None:
        found = [*invariants.violations(self.bench.rows), *invariants.effect_violations(self.bench.rows)]
        assert not found, "\n".join(found)


CLAIMED_WRONGLY = """
WITH claimed AS (
  SELECT c.*, %s::varchar AS policy_now, %s::varchar AS tool_now, %s::varchar AS graph_now
    FROM calls_toolcall c WHERE c.id = %s)
SELECT 'I8 claimed under policy ' || policy_version || ', it is ' || policy_now AS what
  FROM claimed WHERE policy_version <> policy_now AND rerun <> 'read'
UNION ALL
SELECT 'G9 claimed as ' || tool_version || ' of ' || graph_version || ', now ' || tool_now || ' of ' || graph_now
  FROM claimed WHERE (tool_version, graph_version) <> (tool_now, graph_now) AND rerun <> 'read'
UNION ALL
SELECT 'I8 claimed before it was final' FROM claimed WHERE effective_at > clock_timestamp()
UNION ALL
SELECT 'I8 claimed when its approval had expired' FROM claimed WHERE execute_by < started_at
UNION ALL
SELECT 'I8 claimed while on hold' FROM claimed c JOIN conversations_hold h ON h.tenant_id = c.tenant_id
 WHERE h.lifted_at IS NULL AND h.tool_name IN ('', c.tool_name)
UNION ALL
SELECT 'I8 claimed for a run that is ' || r.status FROM claimed c JOIN conversations_run r ON r.id = c.run_id
 WHERE r.status <> 'running'
UNION ALL
SELECT 'I8 claimed under epoch ' || c.epoch || ', the lease has ' || l.epoch
  FROM claimed c JOIN conversations_lease l ON l.thread_id = c.thread_id WHERE l.epoch <> c.epoch
UNION ALL
SELECT 'I8 nobody who approved it may approve any more' FROM claimed c
 WHERE c.execute_by IS NOT NULL AND c.rerun = 'once' AND NOT EXISTS (
         SELECT 1 FROM reviews_decision d JOIN reviews_reviewrequest q ON q.id = d.request_id AND q.call_id = c.id
           JOIN tenants_membership m ON m.user_id = d.reviewer_id AND m.tenant_id = c.tenant_id
           JOIN tenants_user u ON u.id = m.user_id AND u.is_active
          WHERE d.undone_at IS NULL AND d.verdict IN ('approve', 'edit') AND m.role IN ('reviewer', 'admin'))
"""


@pytest.fixture
def machine(make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> type[Desk]:
    policy = Policy()

    def judge_now(*args: Any, **kwargs: Any) -> Any:
        return replace(judge(*args, **kwargs), version=policy.version)

    monkeypatch.setattr(ledgers, "judge", judge_now)
    monkeypatch.setattr(Desk, "make_bench", staticmethod(make_bench), raising=False)
    monkeypatch.setattr(Desk, "policy", policy, raising=False)
    return Desk


def bounded(*, examples: int, steps: int, **more: Any) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        **more,
    )


def test_no_history_breaks_a_promise(machine: type[Desk]) -> None:
    run_state_machine_as_test(machine, settings=bounded(examples=20, steps=25, phases=[Phase.generate]))


@pytest.mark.torture
def test_no_long_history_breaks_a_promise(machine: type[Desk]) -> None:
    run_state_machine_as_test(machine, settings=bounded(examples=600, steps=50))


# --- it can see: each of these breaks is found ------------------------------------------------------------------------

Break = tuple[str, str, str]  # of which statement of the ledger, what, becomes what
DIGEST = "COALESCE(NULLIF(c.approved_digest, ''), c.digest) = %(digest)s"
EFFECTIVE = "(c.effective_at IS NULL OR c.effective_at <= clock_timestamp())"
HELD = "AND h.tool_name IN ('', %(tool)s::varchar)"
BREAKS: dict[str, list[Break]] = {
    "no digest check": [("CLAIM", DIGEST, "true")],
    "no attempt < allowances": [("CLAIM", "AND c.attempt < c.allowances", "")],
    "no tool version": [("CLAIM", "c.tool_version = %(tool_version)s", "true")],
    "no graph version": [("CLAIM", "c.graph_version = %(graph_version)s", "true")],
    "no policy version": [("CLAIM", "c.policy_version = %(policy_version)s", "true")],
    "no effective_at": [
        ("CLAIM", EFFECTIVE, "true"),
        ("FIND", "effective_at > clock_timestamp() AS too_early", "false AS too_early"),
    ],
    "no execute_by": [("CLAIM", "(c.execute_by IS NULL OR c.execute_by > clock_timestamp())", "true")],
    "no role": [("CLAIM", "AND m.role = ANY(%(deciding_roles)s)", "")],
    "no active account": [("CLAIM", "AND u.is_active", "")],
    "self-approval": [("CLAIM", "d.reviewer_id <> q.requester_id", "true")],
    "no lease epoch": [("RUN_IS_OURS", "AND l.epoch = %(epoch)s", "")],
    "no look at the run": [("RUN_IS_OURS", "AND r.status = 'running'", "")],
    "no holds": [("RUN_IS_OURS", HELD, "AND false")],
}


def each_single_change(machine: type[Desk]) -> None:
    """All ways to where an approval is used, with each tool and each change. Left to chance, one in fifteen was not tried
    in 250 histories."""
    for number, change in product(TOOLS, CHANGES):
        desk = machine()
        desk.between_approval_and_claim(change, "rosa", number)
        desk.nothing_is_violated()


def check_that_it_is_seen(machine: type[Desk]) -> None:
    """Found as a violation, or by a constraint of the database on the way there."""
    with pytest.raises((AssertionError, IntegrityError, psycopg.IntegrityError, pytest.fail.Exception)):
        each_single_change(machine)


def test_no_single_change_breaks_a_promise(machine: type[Desk]) -> None:
    each_single_change(machine)


@pytest.mark.parametrize("broken", BREAKS)
def test_it_sees(machine: type[Desk], monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    for statement, old, new in BREAKS[broken]:
        whole = getattr(ledgers, statement)
        assert old in whole
        monkeypatch.setattr(ledgers, statement, whole.replace(old, new))
    check_that_it_is_seen(machine)


def test_it_sees_a_crashed_call_run_again(machine: type[Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "RERUN_FREELY", set(Rerun))
    check_that_it_is_seen(machine)


def test_it_sees_an_executing_call_claimed_again(machine: type[Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    again = ledgers.CLAIM.replace("('allowed', 'approved')", "('allowed', 'approved', 'executing')")
    for guard in ("AND c.attempt < c.allowances", "AND (c.started_at IS NULL OR d.effective_at > c.started_at)"):
        assert guard in again
        again = again.replace(guard, "")
    monkeypatch.setattr(ledgers, "CLAIM", again)

    async def claim_again(self: PostgresLedger, connection: Any, call: ProposedCall, found: Any) -> Any:
        return await self._claim(connection, call, found) or self._question(found)

    monkeypatch.setattr(PostgresLedger, "_after_a_crash", claim_again)
    check_that_it_is_seen(machine)
