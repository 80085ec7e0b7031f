"""The real ledger and the real actions on PostgreSQL, in one process: a tenant of its own, its people, one run to drive.

Nothing here sleeps. Time passes by `later`, which shifts what is stored into the past.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
from django.db import connection
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from agents.checkpointing import Pool, open_pool
from agents.contracts import Effect, Grant, Manifest, ProposedCall, Receipt, Rerun, Risk, ToolCard
from approvals.calls.digests import call_digest
from approvals.calls.models import CatalogueTool, ToolCall
from approvals.calls.titles import manifest_to_json
from approvals.conversations.actions import start_conversation
from approvals.conversations.models import Agent, Run
from approvals.db.tenant_scope import acting_for
from approvals.reviews.actions import Answer, decide
from approvals.reviews.models import Decision, RequestStatus, ReviewRequest, Verdict
from approvals.runner import outcomes
from approvals.runner.leases import acquire
from approvals.runner.ledger import PostgresLedger
from approvals.tenants.models import Membership, Tenant, User

T = TypeVar("T")
Role = Membership.Role
SCHEMA = {
    "type": "object",
    "properties": {"order": {"type": "integer"}, "amount": {"type": "number"}},
    "required": ["order"],
}
# What the tools did to the world, counted outside the product. `transactional` ones write it inside the receipt's
# transaction, the others on a connection of their own.
WORLD = """
CREATE TABLE IF NOT EXISTS test_world (
    call_id uuid NOT NULL, attempt int NOT NULL, idempotency_key text NOT NULL, digest text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp())
"""
ADD_TO_WORLD = "INSERT INTO test_world VALUES (%s, %s, %s, %s)"


class Loop:
    """An event loop in a thread of its own, with the worker's pool open in it."""

    def __init__(self, database: str) -> None:
        self.conninfo = make_conninfo(os.environ["DATABASE_WORKER_URL"], dbname=database)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.pool: Pool = self.run(self._open())

    async def _open(self) -> Pool:
        pool = open_pool(self.conninfo, max_size=10)
        await pool.open(wait=True)
        return pool

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.start(work).result(60)

    def close(self) -> None:
        self.run(self.pool.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@contextmanager
def loop_on(database: str) -> Iterator[Loop]:
    """The pool as the worker's role; and, outside the product, a table of what its tools did."""
    with psycopg.connect(make_conninfo(os.environ["DATABASE_OWNER_URL"], dbname=database), autocommit=True) as owner:
        owner.execute(WORLD)
        role = str(conninfo_to_dict(os.environ["DATABASE_WORKER_URL"])["user"])
        owner.execute(sql.SQL("GRANT SELECT, INSERT ON test_world TO {}").format(sql.Identifier(role)))
    loop = Loop(database)
    try:
        yield loop
    finally:
        loop.close()


def card(
    name: str = "refund", *, rerun: Rerun = Rerun.ONCE, effect: Effect = Effect.MOVES_MONEY, version: str = "v1"
) -> ToolCard:
    manifest = Manifest(title="Refund {amount} on order {order}", effect=effect, risk=Risk.HIGH, rerun=rerun)
    return ToolCard(name=name, description="", schema=SCHEMA, manifest=manifest, version=version)


def proposed(
    number: int = 1, *, tool: ToolCard | None = None, arguments: str = '{"amount":5,"order":1}', problem: str = ""
) -> ProposedCall:
    return ProposedCall(
        message_id="message-1", call_id=f"call-{number}", tool=tool or card(), arguments=arguments, problem=problem
    )


class Bench:
    """One tenant with one conversation, and a worker's view of its run."""

    def __init__(self, loop: Loop, *, undo_seconds: int = 0) -> None:
        self.loop = loop
        self.tenant = Tenant.objects.create(slug=f"t{uuid4().hex[:12]}", name="Bench", undo_seconds=undo_seconds)
        self.graph_version = "g1"
        self.mia = self._person("mia", Role.MEMBER)  # asks
        self.rosa = self._person("rosa", Role.REVIEWER)
        self.adam = self._person("adam", Role.ADMIN)
        with self.scope():
            self.agent = Agent.objects.create(tenant=self.tenant, name="Desk", graph_id="bench")
            conversation = start_conversation(agent=self.agent, user=self.mia, text="Refund order 1")
            self.run_id: UUID = Run.objects.get(conversation=conversation).pk
        self.thread_id: UUID = conversation.pk
        self.ledger: PostgresLedger = None  # type: ignore[assignment]

    def scope(self) -> Any:
        return acting_for(self.tenant.pk)

    def _person(self, name: str, role: str) -> User:
        person = User(email=f"{name}-{uuid4().hex[:12]}@example.com", name=name.title(), password="!")
        person.save(force_insert=True)
        Membership.objects.create(tenant=self.tenant, user=person, role=role)
        return person

    # the worker's side

    def begin(self) -> PostgresLedger:
        """Take the lease, whoever had it, and begin to drive: a new epoch."""
        epoch = self.take_lease()
        with self.scope():
            assert outcomes.begin_turn(thread_id=self.thread_id, epoch=epoch) is not None, "the run is not due"
        self.ledger = self.ledger_of(epoch)
        return self.ledger

    def take_lease(self) -> int:
        self.sql("UPDATE conversations_lease SET expires_at = NULL WHERE thread_id = %s", self.thread_id)
        taken = acquire(self.loop.pool, thread_id=self.thread_id, tenant_id=self.tenant.pk, seconds=600)
        lease = self.loop.run(taken)
        assert lease is not None
        return lease.epoch

    def ledger_of(self, epoch: int, run_id: UUID | None = None) -> PostgresLedger:
        return PostgresLedger(
            pool=self.loop.pool,
            tenant_id=self.tenant.pk,
            run_id=run_id or self.run_id,
            epoch=epoch,
            graph_version=self.graph_version,
        )

    def enter(self, call: ProposedCall | None = None) -> Any:
        return self.loop.run(self.ledger.enter(call or proposed()))

    def settle(
        self, grant: Grant, text: str = "done", *, ok: bool = True, ledger: PostgresLedger | None = None
    ) -> None:
        self.loop.run((ledger or self.ledger).settle(grant, Receipt(content=text, ok=ok)))

    def effect(self, grant: Grant) -> None:
        """What a tool does to the world, where no rollback of the product reaches it."""
        self.sql(ADD_TO_WORLD, *self.done(grant))

    def done(self, grant: Grant) -> tuple[UUID, int, str, str]:
        """A row of the world: the digest is that of the arguments with which the tool was called."""
        with self.scope():
            call = ToolCall.objects.get(pk=grant.id)
        ran = call_digest(
            tenant_id=self.tenant.pk,
            run_id=call.run_id,
            message_id=call.graph_message_id,
            call_id=call.call_id,
            tool=call.tool_name,
            arguments=json.dumps(dict(grant.arguments)),
        )
        return grant.id, grant.attempt, grant.idempotency_key, ran

    def effects(self) -> list[dict[str, Any]]:
        return self.rows(
            "SELECT w.* FROM test_world w JOIN calls_toolcall c ON c.id = w.call_id WHERE c.run_id = %s", self.run_id
        )

    def suspend(self) -> None:
        ledger = self.ledger
        self.ended(outcomes.suspend, questions=ledger.questions, held=ledger.held, pauses=[])

    def ended(self, how: Callable[..., None], **facts: Any) -> None:
        version = {} if how is outcomes.fail else {"graph_version": self.graph_version}
        with self.scope():
            how(run_id=self.run_id, epoch=self.ledger.epoch, **version, **facts)

    # people's side

    def open(self) -> ReviewRequest:
        with self.scope():
            return ReviewRequest.objects.select_related("call").get(run_id=self.run_id, status=RequestStatus.PENDING)

    def decide(
        self,
        verdict: Verdict = Verdict.APPROVE,
        *,
        by: User | None = None,
        review: ReviewRequest | None = None,
        **more: Any,
    ) -> Decision:
        review = review or self.open()
        if verdict in (Verdict.REJECT, Verdict.RESPOND):
            more.setdefault("feedback", "because")
        with self.scope():
            answer = Answer(verdict=verdict, digest=more.pop("digest", review.digest), **more)
            return decide(review=review, reviewer=by or self.rosa, answer=answer)

    def approved(self, call: ProposedCall | None = None) -> ProposedCall:
        """A call that was asked and approved, with a fresh drive begun: the next `enter` claims it, if it may."""
        call = call or proposed()
        self.begin()
        self.enter(call)
        self.suspend()
        self.decide()
        self.later()
        self.begin()
        return call

    def later(self, *, execute_by: bool = False, decide_by: bool = False) -> None:
        """Time passes: undo windows are over. `execute_by=True` or `decide_by=True`: those times too."""
        shift = "- interval '1 day'"
        run = {"run": self.run_id}
        self.sql("UPDATE conversations_run SET wake_at = LEAST(wake_at, now()) WHERE id = %(run)s", **run)
        self.sql(
            """UPDATE reviews_decision d SET effective_at = LEAST(effective_at, clock_timestamp())
                 FROM reviews_reviewrequest q WHERE q.id = d.request_id AND q.run_id = %(run)s""",
            **run,
        )
        too_late = f", execute_by = clock_timestamp() {shift}" if execute_by else ""
        self.sql(
            f"""UPDATE calls_toolcall SET effective_at = LEAST(effective_at, clock_timestamp()) {too_late}
                 WHERE run_id = %(run)s""",
            **run,
        )
        if decide_by:
            self.sql(f"UPDATE reviews_reviewrequest SET decide_by = now() {shift} WHERE run_id = %(run)s", **run)

    # the rows

    def call(self, number: int = 1) -> ToolCall:
        with self.scope():
            return ToolCall.objects.get(run_id=self.run_id, call_id=f"call-{number}")

    def the_run(self) -> Run:
        with self.scope():
            return Run.objects.get(pk=self.run_id)

    def sql(self, statement: str, *values: Any, **named: Any) -> int:
        with self.scope(), connection.cursor() as cursor:
            cursor.execute(statement, named or values)
            return int(cursor.rowcount)

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """What the tenant's own session sees."""
        with self.scope(), connection.cursor() as cursor:
            cursor.execute(query, values)
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def publish(self, tool: ToolCard) -> None:
        """Make a tool known to people, so that its arguments can be edited."""
        CatalogueTool.objects.update_or_create(
            graph_id="bench",
            name=tool.name,
            version=tool.version,
            defaults={"schema_text": json.dumps(tool.schema), "manifest": manifest_to_json(tool.manifest)},
        )


def newer(call: ProposedCall) -> ProposedCall:
    """The same call, after the tool's code has changed."""
    return replace(call, tool=replace(call.tool, version=call.tool.version + "+"))
