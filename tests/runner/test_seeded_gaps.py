"""What the ledger, the drive and the database promise and no other test had tried: found by seeded bugs (tests/torture)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import connection, connections
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt

from agents.canonical import canonical
from agents.checkpointing import FencedSaver
from agents.contracts import Effect, Rerun
from agents.gate import gated_tool
from agents.registry import RegisteredGraph
from approvals.audit.actions import record
from approvals.conversations.actions import send_message
from approvals.conversations.models import Conversation, Run, RunStatus
from approvals.db.base import DatabaseWrapper
from approvals.db.checks import UnsafeRole, refuse_unsafe_role
from approvals.db.tenant_scope import acting_for
from approvals.reviews.access import may_hold
from approvals.reviews.actions import Answer, Stale, TooLate, decide, expire, place_hold, stop_run, undo
from approvals.reviews.models import Decision, RequestStatus, ReviewRequest, Verdict
from approvals.runner import outcomes, tasks
from approvals.runner.driving import Driver
from approvals.runner.leases import Heart, acquire, release
from approvals.runner.ledger import NoLongerOurs
from approvals.runner.outcomes import Pause
from approvals.tenants.access import NotAllowed
from approvals.tenants.models import Membership
from tests.runner.test_ledger import MakeBench, asked, effect_in_transaction, granted, in_own_connection
from tests.runner.workbench import Bench, card, newer, proposed
from tests.stack import eventually

READS = card("look_up", effect=Effect.READS, rerun=Rerun.READ)
LOCKED = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


# --- the claim ----------------------------------------------------------------------------------------------------------


def test_a_role_in_another_tenant_approves_nothing_here(make_bench: MakeBench) -> None:
    bench, elsewhere = make_bench(), make_bench()
    call = bench.approved()
    Membership.objects.filter(user=bench.rosa).delete()
    Membership.objects.create(tenant=elsewhere.tenant, user=bench.rosa, role=Membership.Role.ADMIN)
    asked(bench.enter(call))
    assert (bench.call().status, bench.call().attempt) == ("asked", 0)


def test_an_approval_that_was_used_up_does_not_count_again(bench: Bench) -> None:
    """Rosa let the first attempt run. Of the second only Adam knew, and he may not decide any more."""
    call = bench.approved()
    granted(bench.enter(call))
    bench.begin()  # the worker that claimed it died
    asked(bench.enter(call))
    bench.suspend()
    bench.decide(by=bench.adam)
    Membership.objects.filter(user=bench.adam).update(role=Membership.Role.MEMBER)
    bench.begin()
    asked(bench.enter(call))
    assert (bench.call().status, bench.call().attempt) == ("asked", 1)


def test_a_tool_that_says_nothing_of_itself_asks_and_runs_once(bench: Bench) -> None:
    call = proposed(tool=replace(card(), manifest=None))
    bench.begin()
    asked(bench.enter(call))
    bench.suspend()
    bench.decide()
    bench.begin()
    granted(bench.enter(call))
    bench.begin()  # the worker that claimed it died
    asked(bench.enter(call))
    assert (bench.call().status, bench.call().attempt) == ("unknown", 1)


def test_an_open_question_is_asked_anew_when_its_tool_has_changed(bench: Bench) -> None:
    """The person would decide about a tool that is not there any more, and the approval would be void."""
    old, changed = waiting(bench), newer(proposed())
    bench.sql("UPDATE conversations_run SET status = 'queued' WHERE id = %s", bench.run_id)  # something else wakes it
    bench.begin()
    asked(bench.enter(changed))
    bench.suspend()
    assert bench.open().asking == old.asking + 1
    with bench.scope():
        assert ReviewRequest.objects.get(pk=old.pk).status == RequestStatus.SUPERSEDED
    bench.decide()
    bench.begin()
    granted(bench.enter(changed))


@contextmanager
def a_claim_under_way(bench: Bench) -> Iterator[None]:
    """A transaction of the ledger that has looked whether it may claim, and has written nothing yet."""
    looked, go_on, write = threading.Event(), threading.Event(), bench.ledger._propose

    async def wait_and_write(*args: Any, **named: Any) -> Any:
        looked.set()
        await asyncio.to_thread(go_on.wait, 20)
        return await write(*args, **named)

    bench.ledger._propose = wait_and_write  # type: ignore[method-assign]
    entering = bench.loop.start(bench.ledger.enter(proposed(tool=READS)))
    assert looked.wait(20)
    try:
        yield
    finally:
        go_on.set()
        bench.ledger._propose = write  # type: ignore[method-assign]
        granted(entering.result(20))


def waits_for_the_claim(bench: Bench, action: Callable[[], Any]) -> None:
    def act() -> Any:
        with bench.scope():
            return action()

    with ThreadPoolExecutor(1) as threads:
        with a_claim_under_way(bench):
            acting = threads.submit(in_own_connection, act)
            while not bench.rows(LOCKED):
                assert not acting.done(), "it committed beside an open claim"
        acting.result(20)


def test_a_stop_waits_for_a_claim_that_has_written_nothing_yet(bench: Bench) -> None:
    """A call that policy allows has no row to lock before it is claimed."""
    bench.begin()
    run = bench.the_run()
    waits_for_the_claim(bench, lambda: stop_run(run=run, by=bench.mia))
    with pytest.raises(NoLongerOurs):
        bench.enter(proposed(2, tool=READS))


def test_a_hold_waits_for_a_claim_that_has_begun(bench: Bench) -> None:
    bench.begin()
    waits_for_the_claim(bench, lambda: place_hold(tenant=bench.tenant, by=bench.adam, reason="!"))
    asked(bench.enter(proposed(2, tool=READS)))


def test_a_lease_is_not_taken_over_while_a_claim_is_under_way(bench: Bench) -> None:
    bench.begin()
    bench.sql("UPDATE conversations_lease SET expires_at = NULL WHERE thread_id = %s", bench.thread_id)
    taking = {"thread_id": bench.thread_id, "tenant_id": bench.tenant.pk, "seconds": 600}
    with a_claim_under_way(bench):
        assert bench.loop.run(acquire(bench.loop.pool, **taking)) is None
    assert bench.loop.run(acquire(bench.loop.pool, **taking)) is not None


def test_a_stopped_run_has_no_transactional_effect(bench: Bench) -> None:
    """It was claimed before the stop, and begins after it: nothing had happened, so nothing does."""
    grant = granted(bench.enter(bench.approved(proposed(tool=card(rerun=Rerun.TRANSACTIONAL)))))
    with bench.scope():
        stop_run(run=bench.the_run(), by=bench.mia)
    with pytest.raises(NoLongerOurs):
        bench.loop.run(effect_in_transaction(bench.ledger, grant))
    assert bench.effects() == []


# --- decisions ----------------------------------------------------------------------------------------------------------


def waiting(bench: Bench) -> ReviewRequest:
    bench.begin()
    bench.enter()
    bench.suspend()
    return bench.open()


@pytest.mark.parametrize("digest", ["", "0" * 64, "upper"])
def test_a_decision_about_something_else_decides_nothing(bench: Bench, digest: str) -> None:
    review = waiting(bench)
    for verdict in (Verdict.APPROVE, Verdict.REJECT):
        with pytest.raises(Stale):
            bench.decide(verdict, digest=review.digest.upper() if digest == "upper" else digest)
    assert bench.open().pk == review.pk
    assert (bench.call().status, bench.call().allowances) == ("asked", 0)


def asks(bench: Bench) -> ReviewRequest:
    """A graph's own question, open."""
    bench.begin()
    payload = canonical({"question": "Publish?", "choices": ["yes", "no"]})
    pause = Pause(interrupt_id="i1", payload=payload, state='{"checkpoint":"c1","values":{}}', title="Publish?")
    bench.ended(outcomes.suspend, questions=[], held=[], pauses=[pause])
    return bench.open()


def answered(bench: Bench, review: ReviewRequest, answer: Any = "yes") -> Decision:
    return bench.decide(Verdict.RESPOND, review=review, answer=answer)


def test_a_question_of_the_graph_is_answered_once(bench: Bench) -> None:
    review = asks(bench)
    answered(bench, review)
    with bench.scope():
        with pytest.raises(TooLate):
            decide(
                review=review,
                reviewer=bench.adam,
                answer=Answer(verdict=Verdict.RESPOND, digest=review.digest, answer="no"),
            )
        assert [decision.answer for decision in Decision.objects.filter(request=review)] == ['"yes"']


def test_an_answer_waits_for_the_undo_window_and_one_taken_back_is_never_given(make_bench: MakeBench) -> None:
    bench = make_bench(undo_seconds=60)
    review = asks(bench)
    answered(bench, review)
    assert deliveries(bench) == []
    with bench.scope():
        undo(review=review, by=bench.rosa)
    bench.later()
    assert deliveries(bench) == []
    answered(bench, review, "no")
    bench.later()
    assert deliveries(bench) == ["no"]


def deliveries(bench: Bench) -> list[Any]:
    """What a drive would give to the graph now, whatever woke it."""
    bench.sql("UPDATE conversations_run SET status = 'queued', wake_at = now() WHERE id = %s", bench.run_id)
    epoch = bench.take_lease()
    with bench.scope():
        turn = outcomes.begin_turn(thread_id=bench.thread_id, epoch=epoch)
    assert turn is not None
    bench.sql("UPDATE conversations_run SET status = 'waiting' WHERE id = %s", bench.run_id)
    return [each.answer for each in turn.deliveries]


def test_what_happened_can_be_said_at_any_time(bench: Bench) -> None:
    """Silence never settles an unknown outcome."""
    granted(bench.enter(bench.approved()))
    bench.begin()
    bench.enter()
    bench.suspend()
    review = bench.open()
    bench.later(decide_by=True)
    with bench.scope():
        assert expire(review=review) is False
    bench.decide(Verdict.RESPOND, feedback="It was refunded.")
    assert bench.call().status == "done"


def test_only_the_person_who_decided_takes_it_back(make_bench: MakeBench) -> None:
    bench = make_bench(undo_seconds=60)
    review = waiting(bench)
    bench.decide()
    with bench.scope():
        with pytest.raises(TooLate):
            undo(review=review, by=bench.adam)
        assert bench.call().status == "approved"
        undo(review=review, by=bench.rosa)
    assert bench.call().status == "asked"


@pytest.mark.parametrize("role", [role for role in Membership.Role if role != Membership.Role.ADMIN])
def test_only_admins_hold_and_lift(role: str) -> None:
    may_hold(Membership(role=Membership.Role.ADMIN))
    with pytest.raises(NotAllowed):
        may_hold(Membership(role=role))


# --- how a drive begins and ends ---------------------------------------------------------------------------------------


def test_each_undecided_call_is_asked_about(bench: Bench) -> None:
    """Three calls in one ToolNode are one interrupt to be seen; and a call may have been asked in a drive that died."""
    bench.begin()
    bench.enter(proposed(1))
    bench.begin()
    for number in (2, 3):
        bench.enter(proposed(number))
    bench.suspend()
    with bench.scope():
        opened = ReviewRequest.objects.filter(run_id=bench.run_id, status=RequestStatus.PENDING)
        assert sorted(opened.values_list("call__call_id", flat=True)) == ["call-1", "call-2", "call-3"]


def test_a_turn_waits_for_the_one_before_it(bench: Bench) -> None:
    """New input would silently discard what a paused graph asks."""
    waiting(bench)
    with bench.scope():
        second = send_message(
            conversation=Conversation.objects.get(pk=bench.thread_id), user=bench.mia, text="And order 2"
        )
    epoch = bench.take_lease()
    with bench.scope():
        assert outcomes.is_due(thread_id=bench.thread_id) is False
        assert outcomes.begin_turn(thread_id=bench.thread_id, epoch=epoch) is None
        assert Run.objects.get(pk=second.pk).status == RunStatus.QUEUED
    assert bench.the_run().status == RunStatus.WAITING


@pytest.mark.parametrize("how", [outcomes.finish, outcomes.fail, outcomes.suspend, outcomes.try_again])
def test_a_stale_worker_says_nothing_of_the_run(bench: Bench, how: Callable[..., None]) -> None:
    bench.begin()
    stale = bench.ledger.epoch
    bench.begin()
    facts: dict[Any, dict[str, Any]] = {
        outcomes.finish: {"graph_version": "g1"},
        outcomes.fail: {"reason": "late"},
        outcomes.suspend: {"graph_version": "g1", "questions": [], "held": [], "pauses": []},
        outcomes.try_again: {"reason": "late"},
    }
    with bench.scope():
        how(run_id=bench.run_id, epoch=stale, **facts[how])
    run = bench.the_run()
    assert (run.status, run.epoch, run.error) == (RunStatus.RUNNING, bench.ledger.epoch, "")


@pytest.mark.parametrize("how", [outcomes.finish, outcomes.fail])
def test_a_run_that_ends_leaves_no_question_open(bench: Bench, how: Callable[..., None]) -> None:
    review = waiting(bench)
    bench.sql("UPDATE conversations_run SET status = 'queued' WHERE id = %s", bench.run_id)
    bench.begin()
    bench.ended(how, **({"reason": "broken"} if how is outcomes.fail else {}))
    with bench.scope():
        assert ReviewRequest.objects.get(pk=review.pk).status == RequestStatus.SUPERSEDED
    assert bench.call().status == "withdrawn"


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    answer: Any


def asking(question: str) -> Any:
    async def ask(state: State) -> State:
        return {"answer": interrupt({"question": question})}

    builder = StateGraph(State)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", END)
    return builder.compile()


def drive(bench: Bench, graph: Any) -> None:
    """As a worker's job does."""
    graphs = {"bench": RegisteredGraph(id="bench", graph=graph, version=bench.graph_version)}
    heart = Heart(bench.loop.conninfo, lease_seconds=600)

    async def job() -> None:
        driver = Driver(pool=bench.loop.pool, heart=heart, graphs=graphs, lease_seconds=600)
        with bench.scope():
            async with ThreadSensitiveContext():
                await driver.drive(thread_id=bench.thread_id, tenant_id=bench.tenant.pk)
                await sync_to_async(connections.close_all)()

    bench.loop.run(job())


def state_of(bench: Bench, graph: Any, given: Any = ...) -> Any:
    """The graph's state; with `given`, after a drive that died before it could say how it ended."""
    epoch = bench.rows("SELECT epoch FROM conversations_lease WHERE thread_id = %s", bench.thread_id)[0]["epoch"]
    config: Any = {"configurable": {"thread_id": str(bench.thread_id)}}

    async def look() -> Any:
        saver = FencedSaver(bench.loop.pool, tenant_id=bench.tenant.pk, lease_epoch=epoch)
        with_saver = graph.copy(update={"checkpointer": saver})
        if given is not ...:
            await with_saver.ainvoke(given, config)
        return await with_saver.aget_state(config)

    return bench.loop.run(look())


def test_an_answer_reaches_the_question_it_was_meant_for(bench: Bench) -> None:
    graph = asking("Publish A?")
    drive(bench, graph)
    answered(bench, bench.open())
    drive(bench, graph)
    assert bench.the_run().status == RunStatus.SUCCEEDED
    assert state_of(bench, graph).values["answer"] == "yes"


def test_an_answer_is_not_given_to_another_question(bench: Bench) -> None:
    """New code asks something else in the same place, under the same interrupt id."""
    drive(bench, asking("Publish A?"))
    answered(bench, bench.open())
    other = asking("Delete everything?")
    state_of(bench, other, None)
    drive(bench, other)
    assert bench.the_run().status == RunStatus.WAITING
    assert "answer" not in state_of(bench, other).values
    assert bench.open().payload == canonical({"question": "Delete everything?"})


def test_a_drive_ends_when_its_effects_have(bench: Bench) -> None:
    """In a ToolNode a sibling's pause ends the task while an allowed call is still running."""
    ended: list[int] = []

    async def look_up(order: int) -> str:
        """Look an order up, which takes its time."""
        await asyncio.sleep(0.3)
        ended.append(order)
        return "found"

    async def refund(order: int) -> str:
        """Refund an order."""
        raise AssertionError("nobody approved it")

    tools = [
        gated_tool(title="Look up {order}", effect=Effect.READS)(look_up),
        gated_tool(title="Refund {order}", effect=Effect.MOVES_MONEY)(refund),
    ]
    wanted = [
        {"type": "tool_call", "id": f"call-{number}", "name": tool.name, "args": {"order": number}}
        for number, tool in enumerate(tools, start=1)
    ]
    builder = StateGraph(State)
    builder.add_node("model", lambda _: {"messages": [AIMessage("", id="m1", tool_calls=wanted)]})
    builder.add_node("tools", ToolNode(tools))
    builder.add_edge(START, "model")
    builder.add_edge("model", "tools")
    builder.add_edge("tools", END)
    drive(bench, builder.compile())
    assert ended == [1]
    assert [bench.call(number).status for number in (1, 2)] == ["done", "asked"]
    assert bench.the_run().status == RunStatus.WAITING


# --- leases, the heart, the sweep ----------------------------------------------------------------------------------------


def test_a_lease_has_one_holder_until_it_runs_out(bench: Bench) -> None:
    taking = {"thread_id": bench.thread_id, "tenant_id": bench.tenant.pk}
    first = bench.loop.run(acquire(bench.loop.pool, **taking, seconds=600))
    assert first is not None
    assert bench.loop.run(acquire(bench.loop.pool, **taking, seconds=600)) is None
    bench.sql(
        "UPDATE conversations_lease SET expires_at = now() - interval '1 second' WHERE thread_id = %s", bench.thread_id
    )
    second = bench.loop.run(acquire(bench.loop.pool, **taking, seconds=600))
    assert second is not None
    assert second.epoch == first.epoch + 1
    bench.loop.run(release(bench.loop.pool, first))  # no longer its own to give back
    assert bench.loop.run(acquire(bench.loop.pool, **taking, seconds=600)) is None


def test_the_heart_renews_a_lease_and_says_when_it_is_lost(bench: Bench) -> None:
    lease = bench.loop.run(acquire(bench.loop.pool, thread_id=bench.thread_id, tenant_id=bench.tenant.pk, seconds=600))
    assert lease is not None
    until = "SELECT expires_at FROM conversations_lease WHERE thread_id = %s"
    [before] = bench.rows(until, bench.thread_id)
    lost = threading.Event()
    with psycopg.connect(bench.loop.conninfo, autocommit=True) as own:
        heart = Heart(bench.loop.conninfo, lease_seconds=900)
        heart.hold(lease, lost.set)
        heart._beat(own)
        [after] = bench.rows(until, bench.thread_id)
        assert (after["expires_at"] - before["expires_at"]).total_seconds() > 200
        assert not lost.is_set()
        bench.take_lease()
        heart._beat(own)
    assert lost.is_set()


def test_a_heart_that_was_started_beats(bench: Bench) -> None:
    lease = bench.loop.run(acquire(bench.loop.pool, thread_id=bench.thread_id, tenant_id=bench.tenant.pk, seconds=600))
    assert lease is not None
    lost = threading.Event()
    heart = Heart(bench.loop.conninfo, lease_seconds=0.6)
    heart.hold(lease, lost.set)
    bench.take_lease()
    heart.start()
    try:
        eventually(lost.is_set, what="the heart has looked")
    finally:
        heart.stop()
        heart.join(20)


def sweep() -> None:
    async def job() -> None:
        with acting_for(None):
            async with ThreadSensitiveContext():
                await tasks.sweep.func(0)
                await sync_to_async(connections.close_all)()

    asyncio.run(job())


def test_the_sweep_wakes_what_a_dead_worker_left(bench: Bench) -> None:
    jobs = "SELECT 1 FROM procrastinate_jobs WHERE args ->> 'thread_id' = %s AND status = 'todo'"
    lost = "DELETE FROM procrastinate_jobs WHERE args ->> 'thread_id' = %s"
    bench.begin()
    bench.sql(lost, str(bench.thread_id))
    bench.sql("UPDATE conversations_run SET wake_at = now() - interval '1 minute' WHERE id = %s", bench.run_id)
    sweep()
    assert bench.rows(jobs, str(bench.thread_id)) == []  # somebody has it
    bench.sql(
        "UPDATE conversations_lease SET expires_at = now() - interval '1 second' WHERE thread_id = %s", bench.thread_id
    )
    sweep()
    assert len(bench.rows(jobs, str(bench.thread_id))) == 1


def test_the_sweep_closes_what_nobody_answered(bench: Bench) -> None:
    review = waiting(bench)
    bench.later(decide_by=True)
    sweep()
    with bench.scope():
        assert ReviewRequest.objects.get(pk=review.pk).status == RequestStatus.EXPIRED
    assert bench.call().status == "expired"
    assert bench.the_run().status == RunStatus.QUEUED


# --- tenants, and the record --------------------------------------------------------------------------------------------


def test_a_connection_serves_whom_the_code_acts_for(make_bench: MakeBench) -> None:
    """Nested, one after the other, and with a cursor that outlives the scope it was made in."""
    one, other = make_bench(), make_bench()

    def seen(cursor: Any) -> list[Any]:
        cursor.execute("SELECT tenant_id FROM conversations_agent")
        return [row[0] for row in cursor.fetchall()]

    with one.scope(), connection.cursor() as cursor:
        assert seen(cursor) == [one.tenant.pk]
        with other.scope():
            assert seen(cursor) == [other.tenant.pk]
            with acting_for(None):
                assert seen(cursor) == []
        assert seen(cursor) == [one.tenant.pk]


def test_a_connection_goes_back_to_the_pool_without_a_tenant(bench: Bench) -> None:
    settings = connections.settings["default"]
    options = {**settings["OPTIONS"], "pool": {"min_size": 1, "max_size": 1}}
    wrapper: Any = DatabaseWrapper({**settings, "OPTIONS": options}, "pooled")
    whose = "SELECT current_setting('app.tenant_id', true)"
    try:
        with bench.scope(), wrapper.cursor() as cursor:
            cursor.execute(whose)
            assert cursor.fetchone() == (str(bench.tenant.pk),)
        wrapper.close()
        with wrapper.pool.connection() as borrowed:  # by whoever comes next
            assert borrowed.execute(whose).fetchone() == ("",)
    finally:
        wrapper.close_pool()


def test_the_tables_owner_is_refused_as_a_role_to_run_with(bench: Bench) -> None:
    with pytest.raises(UnsafeRole):
        refuse_unsafe_role()  # tests run as the owner


def test_a_decision_leaves_its_entry_in_the_chain(bench: Bench) -> None:
    review = waiting(bench)
    bench.decide()
    entries = bench.rows("SELECT * FROM audit_auditevent WHERE subject_id = %s ORDER BY sequence", review.pk)
    assert [(entry["action"], entry["actor_id"]) for entry in entries] == [("request.approve", bench.rosa.pk)]


def test_an_entry_belongs_to_the_transaction_of_its_change(bench: Bench) -> None:
    with bench.scope(), pytest.raises(RuntimeError):
        record("test", tenant_id=bench.tenant.pk, subject_id=bench.run_id)
    assert bench.rows("SELECT 1 FROM audit_auditevent WHERE action = 'test'") == []
