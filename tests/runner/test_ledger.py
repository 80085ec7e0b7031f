"""The ledger behind the gate on real PostgreSQL: each guard of the claim alone, crashes, holds, and races."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from psycopg import AsyncConnection

from agents.contracts import Effect, Grant, InFlight, ProposedCall, Question, Receipt, Rerun
from approvals.conversations.models import Hold, RunStatus
from approvals.policies.evaluation import judge
from approvals.reviews.actions import Invalid, TooLate, expire, lift_hold, place_hold, stop_run, undo, withdraw
from approvals.reviews.models import ReviewRequest, Verdict
from approvals.runner import ledger as ledgers
from approvals.runner import outcomes
from approvals.runner.leases import acquire
from approvals.runner.ledger import NoLongerOurs, PostgresLedger
from approvals.tenants.models import Membership, User
from tests.runner.workbench import ADD_TO_WORLD, Bench, card, newer, proposed

MakeBench = Callable[..., Bench]
READS = card("look_up", effect=Effect.READS, rerun=Rerun.READ)


def granted(entered: Any) -> Grant:
    assert isinstance(entered, Grant), entered
    return entered


def asked(entered: Any) -> Question:
    assert isinstance(entered, Question), entered
    return entered


def told(entered: Any) -> Receipt:
    assert isinstance(entered, Receipt), entered
    return entered


# --- a call's way through ---------------------------------------------------------------------------------------------


def test_a_call_is_asked_approved_claimed_once_and_settled(bench: Bench) -> None:
    call = proposed()
    bench.begin()
    question = asked(bench.enter(call))
    assert question.description == "Refund 5 on order 1"
    bench.suspend()
    assert bench.the_run().status == RunStatus.WAITING
    assert bench.open().digest == question.digest
    bench.decide()
    assert bench.the_run().status == RunStatus.QUEUED
    bench.begin()
    grant = granted(bench.enter(call))
    assert (grant.attempt, dict(grant.arguments)) == (1, {"amount": 5, "order": 1})
    assert bench.enter(call) == InFlight(id=grant.id)
    bench.settle(grant, "Refunded.")
    assert told(bench.enter(call)) == Receipt(content="Refunded.")
    row = bench.call()
    assert (row.status, row.attempt, row.allowances) == ("done", 1, 1)


def test_what_only_reads_runs_by_itself_and_once(bench: Bench) -> None:
    bench.begin()
    grant = granted(bench.enter(proposed(tool=READS)))
    assert bench.enter(proposed(tool=READS)) == InFlight(id=grant.id)
    bench.settle(grant)
    assert told(bench.enter(proposed(tool=READS))).ok
    assert bench.call().attempt == 1


def test_a_call_that_can_never_run_is_refused_and_nobody_is_asked(bench: Bench) -> None:
    call = proposed(problem="order: 'x' is not of type 'integer'")
    bench.begin()
    for _ in range(2):
        assert told(bench.enter(call)) == Receipt(content=f"Refused: {call.problem}", ok=False)
    assert bench.call().status == "denied"


def test_edited_arguments_run_and_the_digest_is_theirs(bench: Bench) -> None:
    call = proposed()
    bench.publish(call.tool)
    bench.begin()
    bench.enter(call)
    bench.suspend()
    with pytest.raises(Invalid):
        bench.decide(Verdict.EDIT, arguments={"order": 1, "amount": 5})  # nothing changed
    with pytest.raises(Invalid):
        bench.decide(Verdict.EDIT, arguments={"order": 1, "to": "me"})
    bench.decide(Verdict.EDIT, arguments={"order": 1, "amount": 2})
    bench.begin()
    assert dict(granted(bench.enter(call)).arguments) == {"order": 1, "amount": 2}
    row = bench.call()
    assert row.approved_digest not in ("", row.digest)


@pytest.mark.parametrize(
    ("verdict", "status", "ok"), [(Verdict.REJECT, "rejected", False), (Verdict.RESPOND, "answered", True)]
)
def test_a_no_or_an_answer_is_told_and_never_runs(bench: Bench, verdict: Verdict, status: str, ok: bool) -> None:
    bench.begin()
    bench.enter()
    bench.suspend()
    bench.decide(verdict, feedback="Ask finance.")
    bench.begin()
    receipt = told(bench.enter())
    assert (receipt.ok, bench.call().status, bench.call().attempt) == (ok, status, 0)
    assert "Ask finance." in receipt.content


def test_silence_means_no(bench: Bench) -> None:
    bench.begin()
    bench.enter()
    bench.suspend()
    review = bench.open()
    with bench.scope():
        assert expire(review=review) is False
    bench.later(decide_by=True)
    with pytest.raises(TooLate):
        bench.decide(review=review)
    with bench.scope():
        assert expire(review=review) is True
    bench.begin()
    assert told(bench.enter()).ok is False
    assert bench.call().status == "expired"


def test_a_withdrawn_question_is_told_and_cannot_be_approved(bench: Bench) -> None:
    bench.begin()
    bench.enter()
    bench.suspend()
    review = bench.open()
    with bench.scope():
        withdraw(review=review, by=bench.mia)
    with pytest.raises(TooLate):
        bench.decide(review=review)
    bench.begin()
    assert told(bench.enter()).ok is False
    assert bench.call().status == "withdrawn"


def test_the_same_id_with_other_arguments_is_refused(bench: Bench) -> None:
    call = bench.approved()
    other = replace(call, arguments='{"amount":5000,"order":1}')
    assert told(bench.enter(other)).ok is False
    renamed = replace(call, tool=card("wire_money"))
    assert told(bench.enter(renamed)).ok is False
    assert bench.call().attempt == 0
    assert dict(granted(bench.enter(call)).arguments)["amount"] == 5


# --- each guard of the claim, alone -----------------------------------------------------------------------------------


def _edit_what_would_run(bench: Bench, call: ProposedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.sql("UPDATE calls_toolcall SET approved_arguments = %s WHERE run_id = %s", '{"order":2}', bench.run_id)


def _edit_what_was_proposed(bench: Bench, call: ProposedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.sql("UPDATE calls_toolcall SET arguments = %s WHERE run_id = %s", '{"order":2}', bench.run_id)


def _change_the_graph(bench: Bench, call: ProposedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.ledger.graph_version = "g2"


def _change_the_policy(bench: Bench, call: ProposedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    newer_policy(monkeypatch)


def newer_policy(monkeypatch: pytest.MonkeyPatch, version: str = "p2") -> None:
    def judge_by_the_newer_one(*args: Any, **kwargs: Any) -> Any:
        return replace(judge(*args, **kwargs), version=version)

    monkeypatch.setattr(ledgers, "judge", judge_by_the_newer_one)


def _run_out_of_time(bench: Bench, call: ProposedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.later(execute_by=True)


def _revoke_the_role(bench: Bench, call: ProposedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    Membership.objects.filter(user=bench.rosa).update(role=Membership.Role.MEMBER)


def _remove_the_member(bench: Bench, call: ProposedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    Membership.objects.filter(user=bench.rosa).delete()


def _deactivate_the_person(bench: Bench, call: ProposedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    User.objects.filter(pk=bench.rosa.pk).update(is_active=False)


def _let_the_requester_decide(bench: Bench, call: ProposedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.sql("UPDATE reviews_reviewrequest SET requester_id = %s WHERE run_id = %s", bench.rosa.pk, bench.run_id)


def _mark_the_decision_undone(bench: Bench, call: ProposedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.sql("UPDATE reviews_decision SET undone_at = now() WHERE tenant_id = %s", bench.tenant.pk)


def _turn_the_verdict(bench: Bench, call: ProposedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.sql("UPDATE reviews_decision SET verdict = 'reject' WHERE tenant_id = %s", bench.tenant.pk)


def _reopen_the_request(bench: Bench, call: ProposedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.sql("UPDATE reviews_reviewrequest SET status = 'pending' WHERE run_id = %s", bench.run_id)


def _an_older_asking(bench: Bench, call: ProposedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.sql("UPDATE calls_toolcall SET asking = asking + 1 WHERE run_id = %s", bench.run_id)


def _use_up_the_allowance(bench: Bench, call: ProposedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.sql("UPDATE calls_toolcall SET attempt = allowances WHERE run_id = %s", bench.run_id)


CHANGES = [
    _edit_what_would_run,
    _edit_what_was_proposed,
    _change_the_graph,
    _change_the_policy,
    _run_out_of_time,
    _revoke_the_role,
    _remove_the_member,
    _deactivate_the_person,
    _let_the_requester_decide,
    _mark_the_decision_undone,
    _turn_the_verdict,
    _reopen_the_request,
    _an_older_asking,
    _use_up_the_allowance,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
def test_an_approval_that_no_longer_holds_asks_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, change: Callable[[Bench, ProposedCall, pytest.MonkeyPatch], None]
) -> None:
    call = bench.approved()
    before = bench.call()
    change(bench, call, monkeypatch)
    asked(bench.enter(call))
    after = bench.call()
    assert (after.status, after.allowances - after.attempt) == ("asked", 0)
    assert after.attempt in (before.attempt, before.allowances)
    assert after.asking > before.asking
    assert after.approved_digest == after.approved_arguments == ""
    asked(bench.enter(call))  # and it stays asked
    bench.suspend()
    assert bench.the_run().status == RunStatus.WAITING
    assert bench.open().asking == after.asking


def test_a_newer_tool_asks_anew_and_the_new_approval_counts(bench: Bench) -> None:
    call = newer(bench.approved())
    asked(bench.enter(call))
    assert bench.call().tool_version == "v1+"
    bench.suspend()
    bench.decide()
    bench.begin()
    assert granted(bench.enter(call)).attempt == 1


def test_an_open_question_about_an_older_version_is_asked_anew_and_its_approval_is_void(bench: Bench) -> None:
    bench.begin()
    bench.enter()
    bench.suspend()
    old = bench.open()
    bench.later()
    bench.sql("UPDATE conversations_run SET status = 'queued' WHERE id = %s", bench.run_id)  # something else wakes it
    bench.begin()
    asked(bench.enter(newer(proposed())))
    bench.decide(review=old)  # between the ledger's change and the suspension
    bench.suspend()
    bench.begin()
    asked(bench.enter(newer(proposed())))
    bench.suspend()
    assert bench.open().asking == bench.call().asking > old.asking
    assert bench.call().attempt == 0


def test_an_approval_is_not_used_within_the_undo_window(make_bench: MakeBench) -> None:
    bench = make_bench(undo_seconds=60)
    bench.begin()
    bench.enter()
    bench.suspend()
    bench.decide()
    assert bench.call().status == "approved"
    bench.sql("UPDATE conversations_run SET wake_at = now() WHERE id = %s", bench.run_id)
    bench.begin()
    asked(bench.enter())
    assert (bench.call().status, bench.call().attempt) == ("approved", 0)
    bench.suspend()
    run = bench.the_run()
    assert (run.status, run.wake_at) == (RunStatus.QUEUED, bench.call().effective_at)


def test_the_claim_itself_honours_the_window_whatever_asked_it(make_bench: MakeBench) -> None:
    """`enter` looks first; the statement does not rely on it."""
    bench = make_bench(undo_seconds=60)
    bench.begin()
    bench.enter()
    bench.suspend()
    bench.decide()
    bench.sql("UPDATE conversations_run SET wake_at = now() WHERE id = %s", bench.run_id)
    ledger = bench.begin()

    async def claim() -> Grant | None:
        async with ledger._transaction() as connection:
            found = await ledger._fetch(connection, ledgers.FIND, ledger._identity(proposed()))
            return await ledger._claim(connection, proposed(), found)

    assert bench.loop.run(claim()) is None
    bench.later()
    assert isinstance(bench.loop.run(claim()), Grant)


def test_a_worker_whose_lease_was_taken_over_claims_nothing(bench: Bench) -> None:
    call = bench.approved()
    stale = bench.ledger
    bench.begin()
    with pytest.raises(NoLongerOurs):
        bench.loop.run(stale.enter(call))
    assert bench.call().attempt == 0
    granted(bench.enter(call))


def test_a_stale_worker_cannot_take_the_run_back(bench: Bench) -> None:
    """It woke up between its lease and its turn; the run would have listened to nobody but it."""
    stale = bench.take_lease()
    bench.begin()
    with bench.scope():
        assert outcomes.begin_turn(thread_id=bench.thread_id, epoch=stale) is None
    assert bench.the_run().epoch == bench.ledger.epoch
    bench.enter()
    bench.suspend()
    assert bench.the_run().status == RunStatus.WAITING


@pytest.mark.parametrize("status", ["cancelled", "succeeded", "waiting", "queued"])
def test_nothing_is_claimed_or_proposed_for_a_run_that_is_not_driven(bench: Bench, status: str) -> None:
    call = bench.approved()
    bench.sql("UPDATE conversations_run SET status = %s WHERE id = %s", status, bench.run_id)
    for each in (call, proposed(2), proposed(3, tool=READS)):
        with pytest.raises(NoLongerOurs):
            bench.enter(each)
    assert bench.rows("SELECT call_id, attempt FROM calls_toolcall WHERE run_id = %s", bench.run_id) == [
        {"call_id": "call-1", "attempt": 0}
    ]


def test_another_tenants_ledger_finds_neither_run_nor_call(make_bench: MakeBench) -> None:
    bench, other = make_bench(), make_bench()
    call = bench.approved()
    stranger = replace(bench.ledger, tenant_id=other.tenant.pk)
    with pytest.raises(NoLongerOurs):
        bench.loop.run(stranger.enter(call))
    assert bench.call().attempt == 0


# --- crashes, by what the tool says of itself ---------------------------------------------------------------------


@pytest.mark.parametrize("rerun", [Rerun.READ, Rerun.IDEMPOTENT, Rerun.TRANSACTIONAL])
def test_after_a_crash_it_runs_again_under_the_same_key(bench: Bench, rerun: Rerun) -> None:
    call = bench.approved(proposed(tool=card(rerun=rerun)))
    first, dead = granted(bench.enter(call)), bench.ledger
    bench.begin()
    again = granted(bench.enter(call))
    assert (again.attempt, again.idempotency_key) == (first.attempt, first.idempotency_key)
    bench.settle(first, "too late", ledger=dead)
    assert bench.call().status == "executing"  # the newer one's receipt counts
    bench.settle(again, "done")
    assert (bench.call().status, bench.call().result, bench.call().attempt) == ("done", "done", 1)


@pytest.mark.parametrize("rerun", [Rerun.IDEMPOTENT, Rerun.TRANSACTIONAL])
@pytest.mark.parametrize("changed", ["tool", "graph", "policy"])
def test_after_a_crash_and_a_deploy_it_goes_to_a_person(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, rerun: Rerun, changed: str
) -> None:
    """The approval was for the older code; finishing the attempt with another is not what anybody allowed."""
    call = bench.approved(proposed(tool=card(rerun=rerun)))
    granted(bench.enter(call))
    bench.graph_version = "g2" if changed == "graph" else "g1"
    if changed == "policy":
        newer_policy(monkeypatch)
    bench.begin()
    asked(bench.enter(newer(call) if changed == "tool" else call))
    assert bench.call().status == "unknown"


def test_after_a_crash_and_a_deploy_a_look_up_runs_again(bench: Bench) -> None:
    bench.begin()
    granted(bench.enter(proposed(tool=READS)))
    bench.begin()
    granted(bench.enter(newer(proposed(tool=READS))))


def test_after_a_crash_a_tool_that_runs_once_goes_to_a_person(bench: Bench) -> None:
    call = bench.approved()
    granted(bench.enter(call))
    bench.begin()
    asked(bench.enter(call))
    assert bench.call().status == "unknown"
    bench.suspend()
    review = bench.open()
    assert (review.kind, review.asking) == (ReviewRequest.Kind.OUTCOME, 1)
    with pytest.raises(Invalid):  # what was started already cannot be changed
        bench.decide(Verdict.EDIT, arguments={"order": 2})
    bench.decide(Verdict.APPROVE)
    bench.begin()
    second = granted(bench.enter(call))
    assert second.attempt == 2
    assert second.idempotency_key.endswith(":2")
    bench.begin()
    asked(bench.enter(call))
    bench.suspend()
    assert bench.open().asking == 2  # another attempt, another question
    bench.decide(Verdict.RESPOND, feedback="It was refunded, I looked.")
    bench.begin()
    assert told(bench.enter(call)) == Receipt(content="It was refunded, I looked.")


def test_a_drive_that_lost_its_receipt_does_not_wait_for_itself(bench: Bench) -> None:
    """The next turn under the same lease finds a claim of this epoch, but nothing in flight: that is a crash too."""
    call = bench.approved()
    granted(bench.enter(call))
    bench.ledger = bench.ledger_of(bench.ledger.epoch)
    asked(bench.enter(call))
    assert bench.call().status == "unknown"


@pytest.mark.parametrize("verdict", [Verdict.RESPOND, Verdict.REJECT])
def test_what_a_person_says_of_an_outcome_is_told_when_it_can_no_longer_be_taken_back(
    make_bench: MakeBench, verdict: Verdict
) -> None:
    bench = make_bench(undo_seconds=60)
    call = bench.approved()
    granted(bench.enter(call))
    bench.begin()
    bench.enter(call)
    bench.suspend()
    review = bench.open()
    bench.decide(verdict)
    bench.sql("UPDATE conversations_run SET wake_at = now() WHERE id = %s", bench.run_id)
    bench.begin()
    asked(bench.enter(call))
    with bench.scope():
        undo(review=review, by=bench.rosa)
    assert bench.call().status == "unknown"
    bench.decide(verdict, review=review)
    bench.later()
    told(bench.enter(call))
    with bench.scope(), pytest.raises(TooLate):
        undo(review=review, by=bench.rosa)


def test_a_late_receipt_settles_what_was_unknown(bench: Bench) -> None:
    call = bench.approved()
    grant, slow = granted(bench.enter(call)), bench.ledger
    noted: list[UUID] = []

    async def note(call_id: UUID) -> None:
        noted.append(call_id)

    slow.on_late_receipt = note
    bench.begin()
    bench.enter(call)
    bench.suspend()
    bench.settle(grant, "Refunded after all.", ledger=slow)
    assert (bench.call().status, bench.call().result) == ("done", "Refunded after all.")
    assert noted == [grant.id]
    with bench.scope():
        outcomes.note_late_receipt(grant.id)
    assert bench.the_run().status == RunStatus.QUEUED
    with bench.scope():
        assert not ReviewRequest.objects.filter(run_id=bench.run_id, status="pending").exists()


def test_a_late_receipt_changes_nothing_that_a_person_has_settled(bench: Bench) -> None:
    call = bench.approved()
    grant, slow = granted(bench.enter(call)), bench.ledger
    bench.begin()
    bench.enter(call)
    bench.suspend()
    bench.decide(Verdict.REJECT, feedback="gave up")
    bench.settle(grant, "Refunded after all.", ledger=slow)
    row = bench.call()
    assert (row.status, row.attempt) == ("failed", 1)
    assert "gave up" in row.result
    late = bench.rows("SELECT 1 FROM audit_auditevent WHERE subject_id = %s AND action = 'call.late_receipt'", row.pk)
    assert len(late) == 1


def test_a_receipt_of_an_earlier_attempt_is_not_the_newer_ones(bench: Bench) -> None:
    call = bench.approved()
    first, slow = granted(bench.enter(call)), bench.ledger
    bench.begin()
    bench.enter(call)
    bench.suspend()
    bench.decide()
    bench.begin()
    second = granted(bench.enter(call))
    bench.settle(first, "the first", ledger=slow)
    assert bench.call().status == "executing"
    bench.settle(second, "the second")
    assert bench.call().result == "the second"


def test_attempts_under_one_lease_have_receipts_of_their_own(bench: Bench) -> None:
    """The epoch alone does not tell them apart."""
    call = bench.approved()
    first, epoch = granted(bench.enter(call)), bench.ledger.epoch
    bench.ledger = bench.ledger_of(epoch)
    asked(bench.enter(call))
    bench.suspend()
    bench.decide()
    with bench.scope():
        assert outcomes.begin_turn(thread_id=bench.thread_id, epoch=epoch) is not None
    bench.ledger = bench.ledger_of(epoch)
    second = granted(bench.enter(call))
    bench.settle(first, "the first")
    assert bench.call().status == "executing"
    bench.settle(second, "the second")
    assert bench.call().result == "the second"


def test_a_stopped_run_keeps_the_receipt_of_what_was_under_way(bench: Bench) -> None:
    call = bench.approved()
    grant = granted(bench.enter(call))
    with bench.scope():
        stop_run(run=bench.the_run(), by=bench.mia)
    bench.settle(grant, "Refunded.")
    assert (bench.call().status, bench.the_run().status) == ("done", RunStatus.CANCELLED)


def test_a_decision_on_a_stopped_run_cannot_be_taken_back(make_bench: MakeBench) -> None:
    """Nothing waits any more: an open request would be one that nobody can decide."""
    bench = make_bench(undo_seconds=60)
    bench.begin()
    bench.enter()
    bench.suspend()
    review = bench.open()
    bench.decide()
    with bench.scope():
        stop_run(run=bench.the_run(), by=bench.mia)
        with pytest.raises(TooLate):
            undo(review=review, by=bench.rosa)
        assert not ReviewRequest.objects.filter(run_id=bench.run_id, status="pending").exists()
    assert bench.call().status == "withdrawn"


# --- effects inside the receipt's transaction -----------------------------------------------------------------------


async def effect_in_transaction(ledger: PostgresLedger, grant: Grant, *, row: Any = None, fails: bool = False) -> None:
    async with ledger.transaction(grant) as transaction:
        work: AsyncConnection[Any] = transaction.connection
        await work.execute(ADD_TO_WORLD, row or (grant.id, grant.attempt, grant.idempotency_key, ""))
        if fails:
            raise RuntimeError("the worker dies here")
        await transaction.settle(Receipt(content="done"))


def test_effect_and_receipt_commit_together_and_only_once(bench: Bench) -> None:
    call = bench.approved(proposed(tool=card(rerun=Rerun.TRANSACTIONAL)))
    grant = granted(bench.enter(call))
    with pytest.raises(RuntimeError):
        bench.loop.run(effect_in_transaction(bench.ledger, grant, fails=True))
    assert (bench.effects(), bench.call().status) == ([], "executing")
    bench.loop.run(effect_in_transaction(bench.ledger, grant))
    with pytest.raises(NoLongerOurs):  # the receipt was used up: the second effect is rolled back
        bench.loop.run(effect_in_transaction(bench.ledger, grant))
    assert (len(bench.effects()), bench.call().status) == (1, "done")


def test_a_worker_that_lost_its_lease_has_no_transactional_effect(bench: Bench) -> None:
    call = bench.approved(proposed(tool=card(rerun=Rerun.TRANSACTIONAL)))
    grant, stale = granted(bench.enter(call)), bench.ledger
    bench.begin()
    with pytest.raises(NoLongerOurs):
        bench.loop.run(effect_in_transaction(stale, grant))
    bench.loop.run(effect_in_transaction(bench.ledger, granted(bench.enter(call))))
    assert len(bench.effects()) == 1


# --- holding --------------------------------------------------------------------------------------------------------


def hold(bench: Bench, **scope: Any) -> Hold:
    with bench.scope():
        return place_hold(tenant=bench.tenant, by=bench.adam, reason="stop the press", **scope)


def lift(bench: Bench, placed: Hold) -> None:
    with bench.scope():
        lift_hold(hold=placed, by=bench.adam)


SCOPES: list[Callable[[Bench], dict[str, Any]]] = [
    lambda bench: {},
    lambda bench: {"agent": bench.agent},
    lambda bench: {"tool_name": "refund"},
    lambda bench: {"agent": bench.agent, "tool_name": "refund"},
]


@pytest.mark.parametrize("scope", SCOPES, ids=["everything", "agent", "tool", "tool of an agent"])
def test_while_held_nothing_is_claimed_people_decide_and_lifting_wakes(
    bench: Bench, scope: Callable[[Bench], dict[str, Any]]
) -> None:
    bench.begin()
    bench.enter()
    placed = hold(bench, **scope(bench))
    bench.suspend()
    bench.decide()
    bench.begin()
    asked(bench.enter())
    assert bench.call().status == "approved"
    bench.suspend()
    assert bench.the_run().status == RunStatus.WAITING
    lift(bench, placed)
    assert bench.the_run().status == RunStatus.QUEUED
    bench.begin()
    granted(bench.enter())


@pytest.mark.parametrize("of", ["another tool", "another agent"])
def test_a_hold_of_something_else_holds_nothing(bench: Bench, of: str) -> None:
    call = bench.approved()
    with bench.scope():
        other = type(bench.agent).objects.create(tenant=bench.tenant, name="Other", graph_id="bench")
    hold(bench, **({"tool_name": "send_mail"} if of == "another tool" else {"agent": other}))
    granted(bench.enter(call))


def test_what_policy_allows_waits_for_the_hold_too(bench: Bench) -> None:
    bench.begin()
    placed = hold(bench)
    asked(bench.enter(proposed(tool=READS)))
    bench.suspend()
    assert (bench.call().status, bench.call().attempt) == ("allowed", 0)
    lift(bench, placed)
    bench.begin()
    granted(bench.enter(proposed(tool=READS)))


def test_a_hold_lifted_before_the_run_is_suspended_wakes_it_although_another_one_stands(bench: Bench) -> None:
    call = bench.approved()
    placed = hold(bench, tool_name="refund")
    hold(bench, tool_name="send_mail")
    asked(bench.enter(call))
    lift(bench, placed)  # the run works, so there is nothing to wake yet
    bench.suspend()
    assert bench.the_run().status == RunStatus.QUEUED


def test_a_run_on_hold_is_not_due(bench: Bench) -> None:
    """A driver looks once more before it lets go: said to be due, a held run would be looked at for ever."""
    placed = hold(bench)
    with bench.scope():
        assert outcomes.begin_turn(thread_id=bench.thread_id, epoch=bench.take_lease()) is None
        assert outcomes.is_due(thread_id=bench.thread_id) is False
    lift(bench, placed)
    with bench.scope():
        assert outcomes.is_due(thread_id=bench.thread_id) is True


def test_a_crashed_call_waits_for_the_hold_before_it_runs_again(bench: Bench) -> None:
    call = bench.approved(proposed(tool=card(rerun=Rerun.IDEMPOTENT)))
    granted(bench.enter(call))
    placed = hold(bench)
    bench.begin()
    asked(bench.enter(call))
    bench.suspend()
    assert bench.the_run().status == RunStatus.WAITING
    lift(bench, placed)
    bench.begin()
    granted(bench.enter(call))


# --- races ----------------------------------------------------------------------------------------------------------


def test_eight_enters_of_one_approved_call_give_one_grant(bench: Bench) -> None:
    call = bench.approved()
    twins = [bench.ledger_of(bench.ledger.epoch) for _ in range(3)]  # other objects, as in other processes

    async def all_at_once() -> list[Any]:
        entering = [bench.ledger.enter(call) for _ in range(8)]
        return await asyncio.gather(*entering)

    entered = bench.loop.run(all_at_once())
    assert [type(each) for each in entered].count(Grant) == 1
    assert [type(each) for each in entered].count(InFlight) == 7
    assert bench.call().attempt == 1
    for twin in twins:
        assert not isinstance(bench.loop.run(twin.enter(call)), Grant)


def test_a_second_enter_waits_until_the_first_knows_of_its_own_claim(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between commit and answer nobody remembers the claim: taken for a crash, it would run twice."""
    call = bench.approved(proposed(tool=card(rerun=Rerun.IDEMPOTENT)))
    answers: list[Any] = []
    transaction = bench.ledger._transaction

    @asynccontextmanager
    async def slow_to_answer() -> AsyncIterator[Any]:
        async with transaction() as work:
            yield work
        for _ in range(100):
            if answers:
                return
            await asyncio.sleep(0.001)

    monkeypatch.setattr(bench.ledger, "_transaction", slow_to_answer)

    async def enter() -> None:
        answers.append(await bench.ledger.enter(call))

    async def both_at_once() -> None:
        await asyncio.gather(enter(), enter())

    bench.loop.run(both_at_once())
    assert sorted(type(each).__name__ for each in answers) == ["Grant", "InFlight"]


def test_eight_proposals_of_one_call_are_one_row(bench: Bench) -> None:
    bench.begin()
    call = proposed(tool=READS)

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(bench.ledger_of(bench.ledger.epoch).enter(call) for _ in range(8)))

    bench.loop.run(all_at_once())
    assert bench.call().attempt == 1


def in_own_connection(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except (TooLate, NoLongerOurs) as refused:
        return refused
    finally:
        connection.close()


def both(bench: Bench, action: Callable[[], Any], call: ProposedCall) -> tuple[Any, Any]:
    """An action of people and a claim, let go at the same moment."""
    ready = threading.Barrier(2)

    def act() -> Any:
        with bench.scope():
            ready.wait(10)
            return action()

    def claim() -> Any:
        ready.wait(10)
        return bench.enter(call)

    with ThreadPoolExecutor(2) as threads:
        acted = threads.submit(in_own_connection, act)
        claimed = threads.submit(in_own_connection, claim)
        return acted.result(60), claimed.result(60)


ROUNDS = 6


def test_a_claim_and_an_undo_are_never_both(make_bench: MakeBench) -> None:
    """The window ends while both are under way: whoever is first keeps the other out."""
    bench = make_bench(undo_seconds=60)
    bench.begin()
    for number in range(1, ROUNDS + 1):
        call = proposed(number)
        bench.enter(call)
        bench.suspend()
        review = bench.open()
        bench.decide(review=review)
        moment = "clock_timestamp() + interval '15 milliseconds'"
        bench.sql(f"UPDATE reviews_decision SET effective_at = {moment} WHERE request_id = %s", review.pk)
        bench.sql(
            """UPDATE calls_toolcall c SET effective_at = d.effective_at FROM reviews_decision d
                WHERE d.request_id = %s AND c.id = %s""",
            review.pk,
            review.call_id,
        )
        bench.sql("UPDATE conversations_run SET wake_at = now() WHERE id = %s", bench.run_id)
        bench.begin()
        undone, entered = both(bench, lambda review=review: undo(review=review, by=bench.rosa), call)  # type: ignore[misc]
        row = bench.call(number)
        if isinstance(entered, Grant):
            assert isinstance(undone, TooLate)
            assert row.status == "executing"
            bench.settle(entered)
        elif undone is None:
            assert (row.status, row.attempt) == ("asked", 0)
            with bench.scope():
                ReviewRequest.objects.filter(pk=review.pk).update(status="withdrawn")
                type(row).objects.filter(pk=row.pk).update(status="withdrawn")


@pytest.mark.parametrize("action", ["stop", "hold"])
def test_after_a_stop_or_a_hold_has_committed_nothing_is_claimed(make_bench: MakeBench, action: str) -> None:
    """By the database's own order of commits: the audit chain, which both write last."""
    for _ in range(ROUNDS):
        bench = make_bench()
        call = bench.approved()
        run = bench.the_run()
        actions: dict[str, Callable[[], Any]] = {
            "stop": lambda bench=bench, run=run: stop_run(run=run, by=bench.mia),  # type: ignore[misc]
            "hold": lambda bench=bench: place_hold(tenant=bench.tenant, by=bench.adam, reason="!"),  # type: ignore[misc]
        }
        _, entered = both(bench, actions[action], call)
        order = bench.rows(
            """SELECT action FROM audit_auditevent WHERE tenant_id = %s
                  AND action IN ('call.executing', 'run.cancelled', 'hold.placed') ORDER BY sequence""",
            bench.tenant.pk,
        )
        executing = [place for place, row in enumerate(order) if row["action"] == "call.executing"]
        assert executing == ([0] if isinstance(entered, Grant) else [])
        assert bench.call().attempt == len(executing)
        assert len(order) == 1 + len(executing)


WAITS_FOR_A_LOCK = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@contextmanager
def ledger_at_work(bench: Bench) -> Iterator[None]:
    """A call on its way: the ledger has found the run its own and nothing held, and has not written anything yet."""
    looked, go_on = threading.Event(), threading.Event()
    ledger = replace(bench.ledger)
    propose = ledger._propose

    async def slow(*args: Any, **kwargs: Any) -> Any:
        looked.set()
        await asyncio.to_thread(go_on.wait, 20)
        return await propose(*args, **kwargs)

    ledger._propose = slow  # type: ignore[method-assign]
    working = bench.loop.start(ledger.enter(proposed(9, tool=READS)))
    try:
        assert looked.wait(10)
        yield
    finally:
        go_on.set()
        granted(working.result(20))


@pytest.mark.parametrize("action", ["stop", "hold"])
def test_a_stop_or_a_hold_waits_for_a_ledger_that_has_looked(bench: Bench, action: str) -> None:
    """Not by luck: from the look until the claim neither can commit, so no effect begins after one has."""
    bench.begin()

    def act() -> None:
        with bench.scope():
            if action == "stop":
                stop_run(run=bench.the_run(), by=bench.mia)
            else:
                place_hold(tenant=bench.tenant, by=bench.adam, reason="!")

    with ThreadPoolExecutor(1) as threads:
        with ledger_at_work(bench):
            acting = threads.submit(in_own_connection, act)
            while not bench.rows(WAITS_FOR_A_LOCK):
                assert not acting.done(), "it committed beside a ledger at work"
        acting.result(20)
    if action == "stop":
        with pytest.raises(NoLongerOurs):
            bench.enter(proposed(tool=READS))
    else:
        asked(bench.enter(proposed(tool=READS)))


def test_a_takeover_passes_by_a_ledger_that_has_looked(bench: Bench) -> None:
    bench.begin()
    bench.sql("UPDATE conversations_lease SET expires_at = now() - interval '1 hour'")
    taking = {"thread_id": bench.thread_id, "tenant_id": bench.tenant.pk, "seconds": 60.0}
    with ledger_at_work(bench):
        assert bench.loop.run(acquire(bench.loop.pool, **taking)) is None
    assert bench.loop.run(acquire(bench.loop.pool, **taking)) is not None


def test_running_again_needs_the_one_who_allowed_that_and_not_the_one_who_allowed_the_first(bench: Bench) -> None:
    """Rosa's approval was used up by the first attempt; Adam, who allowed the second, may not any more."""
    call = bench.approved()
    granted(bench.enter(call))
    bench.begin()
    asked(bench.enter(call))
    bench.suspend()
    bench.decide(by=bench.adam)
    Membership.objects.filter(user=bench.adam).update(role=Membership.Role.MEMBER)
    bench.begin()
    asked(bench.enter(call))
    assert (bench.call().status, bench.call().attempt) == ("asked", 1)


# --- what it writes -------------------------------------------------------------------------------------------------


def test_every_step_leaves_its_entry_in_the_chain(bench: Bench) -> None:
    call = bench.approved()
    bench.settle(granted(bench.enter(call)))
    of_call = "SELECT action FROM audit_auditevent WHERE subject_id = %s ORDER BY sequence"
    assert [row["action"] for row in bench.rows(of_call, bench.call().pk)] == [
        "call.asked",
        "call.executing",
        "call.done",
    ]


def test_no_content_of_a_call_is_in_the_chain(bench: Bench) -> None:
    """So that erasing a person's content leaves the chain valid."""
    secret = uuid4().hex
    call = bench.approved(proposed(arguments=json.dumps({"order": 1, "note": secret})))
    bench.settle(granted(bench.enter(call)), secret)
    facts = bench.rows("SELECT facts::text FROM audit_auditevent WHERE tenant_id = %s", bench.tenant.pk)
    assert facts
    assert not [row for row in facts if secret in row["facts"]]
