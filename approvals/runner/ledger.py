"""The ledger behind the gate: one call, one row, at most one effect for each attempt that somebody allowed.

Each method is one transaction on the worker's own pool, on the database's clock. What guards an effect stands in two
statements that can be read whole: RUN_IS_OURS and CLAIM. Locks are taken in the order run, lease, call; the audit entry
last.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from agents.canonical import digest
from agents.checkpointing import SCOPE, Pool
from agents.contracts import Grant, InFlight, Manifest, ProposedCall, Question, Receipt, Rerun
from approvals.calls.digests import call_digest
from approvals.calls.models import CallStatus
from approvals.calls.titles import title_of
from approvals.db.durability import REPEATABLE
from approvals.policies.evaluation import Judgement, Outcome, judge
from approvals.tenants.access import DECIDES

Row = Mapping[str, Any]
Connection = AsyncConnection[DictRow]

# Placing or lifting a hold takes this lock alone, so it waits for claims under way and every later one sees it.
GATE_LOCK = "SELECT pg_advisory_xact_lock_shared(hashtextextended('gate ' || %s::text, 0))"

# The run is not cancelled and the lease is still this epoch's. FOR SHARE: a cancellation waits for this transaction, so
# no claim commits after it. FOR KEY SHARE: a takeover, which raises the epoch, waits; a heartbeat does not.
RUN_IS_OURS = """
SELECT EXISTS (
         SELECT 1 FROM conversations_hold h JOIN conversations_conversation c ON c.id = r.conversation_id
          WHERE h.tenant_id = r.tenant_id AND h.lifted_at IS NULL AND (h.agent_id IS NULL OR h.agent_id = c.agent_id)
            AND h.tool_name IN ('', %(tool)s::varchar)) AS held
  FROM conversations_run r JOIN conversations_lease l ON l.thread_id = r.thread_id
 WHERE r.id = %(run)s AND r.status = 'running' AND l.epoch = %(epoch)s
   FOR SHARE OF r FOR KEY SHARE OF l
"""

PROPOSE = """
INSERT INTO calls_toolcall (
    id, tenant_id, conversation_id, thread_id, run_id, graph_message_id, call_id, tool_name, title, status, arguments,
    digest, approved_arguments, approved_digest, tool_version, graph_version, policy_version, rerun, asking, attempt,
    allowances, epoch, result, created_at, started_at, ended_at)
SELECT %(id)s, r.tenant_id, r.conversation_id, r.thread_id, r.id, %(message)s, %(call)s, %(tool)s, %(title)s,
       %(status)s::varchar, %(arguments)s, %(digest)s, '', '', %(tool_version)s, %(graph_version)s, %(policy_version)s,
       %(rerun)s, %(asking)s, %(attempt)s::smallint, %(allowances)s::smallint, %(epoch)s, %(result)s, clock_timestamp(),
       CASE WHEN %(status)s::varchar = 'executing' THEN clock_timestamp() END,
       CASE WHEN %(status)s::varchar = 'denied' THEN clock_timestamp() END
  FROM conversations_run r WHERE r.id = %(run)s
ON CONFLICT (run_id, graph_message_id, call_id) DO NOTHING
"""

FIND = """
SELECT *, effective_at > clock_timestamp() AS too_early FROM calls_toolcall
 WHERE run_id = %(run)s AND graph_message_id = %(message)s AND call_id = %(call)s FOR UPDATE
"""

# The one statement that lets an effect happen. An allowance is consumed once (attempt < allowances, within the status);
# an approval counts only for the very bytes, versions and policy it was given for, in its time, and while the person who
# gave it may still give it; one that was given before the newest attempt began is used up.
CLAIM = """
UPDATE calls_toolcall c
   SET status = 'executing', attempt = attempt + 1, epoch = %(epoch)s, started_at = clock_timestamp()
 WHERE c.id = %(id)s AND c.status IN ('allowed', 'approved') AND c.attempt < c.allowances
   AND COALESCE(NULLIF(c.approved_digest, ''), c.digest) = %(digest)s
   AND c.tool_version = %(tool_version)s AND c.graph_version = %(graph_version)s
   AND c.policy_version = %(policy_version)s
   AND (c.effective_at IS NULL OR c.effective_at <= clock_timestamp())
   AND (c.execute_by IS NULL OR c.execute_by > clock_timestamp())
   AND (c.status = 'allowed' OR EXISTS (
         SELECT 1 FROM reviews_decision d
           JOIN reviews_reviewrequest q ON q.id = d.request_id AND q.call_id = c.id AND q.status = 'decided'
           JOIN tenants_membership m ON m.user_id = d.reviewer_id AND m.tenant_id = c.tenant_id
           JOIN tenants_user u ON u.id = d.reviewer_id AND u.is_active
          WHERE d.undone_at IS NULL AND d.verdict IN ('approve', 'edit') AND m.role = ANY(%(deciding_roles)s)
            AND d.reviewer_id <> q.requester_id AND (c.started_at IS NULL OR d.effective_at > c.started_at)
            AND ((q.kind = 'call' AND q.asking = c.asking) OR (q.kind = 'outcome' AND q.asking = c.attempt))))
"""

TAKE_OVER = """
UPDATE calls_toolcall SET epoch = %(epoch)s, started_at = clock_timestamp()
 WHERE id = %(id)s AND status = 'executing' AND epoch < %(epoch)s
"""

GIVE_UP_KNOWING = "UPDATE calls_toolcall SET status = 'unknown' WHERE id = %(id)s AND status = 'executing'"

ASK_ANEW = """
UPDATE calls_toolcall
   SET status = 'asked', asking = asking + 1, approved_arguments = '', approved_digest = '', effective_at = NULL,
       execute_by = NULL, allowances = attempt, title = %(title)s, tool_version = %(tool_version)s,
       graph_version = %(graph_version)s, policy_version = %(policy_version)s
 WHERE id = %(id)s AND status IN ('allowed', 'approved', 'asked')
"""

# `unknown` too: a receipt that comes late is accepted, for it says what really happened. The sub-select sees the row as it
# was before.
SETTLE = """
UPDATE calls_toolcall SET status = %(status)s, result = %(result)s, ended_at = clock_timestamp()
 WHERE id = %(id)s AND attempt = %(attempt)s AND epoch = %(epoch)s AND status IN ('executing', 'unknown')
RETURNING (SELECT status FROM calls_toolcall b WHERE b.id = %(id)s) AS was
"""

AUDIT = "SELECT audit_append(%(tenant)s, %(actor)s, NULL, %(action)s, %(id)s, %(facts)s)"

RERUN_FREELY = {Rerun.READ, Rerun.IDEMPOTENT, Rerun.TRANSACTIONAL}
HOLDABLE = {CallStatus.ALLOWED, CallStatus.APPROVED, CallStatus.EXECUTING}
SAID_NO = {CallStatus.DENIED, CallStatus.REJECTED, CallStatus.EXPIRED, CallStatus.WITHDRAWN}


class NoLongerOurs(RuntimeError):
    """This worker lost the thread's lease, or the run was cancelled; nothing was claimed."""


@dataclass(kw_only=True)
class PostgresLedger:
    """The ledger for one drive of one run: everything below knows whose it is and under which epoch."""

    pool: Pool
    tenant_id: UUID
    run_id: UUID
    epoch: int
    graph_version: str
    questions: set[UUID] = field(default_factory=set)  # calls this drive found undecided; suspending looks at them
    on_late_receipt: Callable[[UUID], Awaitable[None]] | None = (
        None  # an outcome that people are asked about came after all
    )
    held: set[UUID] = field(default_factory=set)  # those among them that only a hold keeps from running
    granted: set[UUID] = field(default_factory=set)  # calls this drive claimed; what an earlier one did has crashed
    _doors: dict[tuple[str, str], asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def enter(self, call: ProposedCall) -> Grant | InFlight | Question | Receipt:
        async with self._doors[call.message_id, call.call_id]:
            entered = await self._enter(call)
            if isinstance(entered, Grant):
                self.granted.add(entered.id)
            return entered

    async def _enter(self, call: ProposedCall) -> Grant | InFlight | Question | Receipt:
        async with self._pipelined() as connection:
            await connection.execute(GATE_LOCK, (self.tenant_id,))
            held = await self._refuse_when_lost(connection, call.tool.name)
            proposed = await self._propose(connection, call, held=held)
            if proposed is not None:
                return proposed
            found = await self._fetch(connection, FIND, self._identity(call))
            if found["digest"] != self._digest(call):
                return Receipt(content="Refused: this call id was used before, for another call.", ok=False)
            return await self._answer(connection, call, found, held=held)

    async def settle(self, grant: Grant, receipt: Receipt) -> None:
        async with self._pipelined() as connection:
            was = await self._settle(connection, grant, receipt)
        if was == CallStatus.UNKNOWN and self.on_late_receipt is not None:
            await self.on_late_receipt(grant.id)

    @asynccontextmanager
    async def transaction(self, grant: Grant) -> AsyncIterator[_TransactionalEffect]:
        async with self._transaction() as connection:
            await self._refuse_when_lost(connection)  # no gate lock: a hold must not wait for an effect to end
            yield _TransactionalEffect(self, connection, grant)

    # what a call's state means for it now

    async def _answer(
        self, connection: Connection, call: ProposedCall, found: Row, *, held: bool
    ) -> Grant | InFlight | Question | Receipt:
        status = found["status"]
        if found["too_early"]:  # decided, but it can still be taken back
            return self._question(found)
        if status in (CallStatus.DONE, CallStatus.ANSWERED):
            return Receipt(content=found["result"])
        if status == CallStatus.FAILED or status in SAID_NO:
            return Receipt(content=found["result"], ok=False)
        if status == CallStatus.EXECUTING and found["epoch"] == self.epoch and found["id"] in self.granted:
            return InFlight(id=found["id"])
        if held and status in HOLDABLE:
            self.held.add(found["id"])
            return self._question(found)
        if status == CallStatus.EXECUTING:
            return await self._after_a_crash(connection, call, found)
        if status == CallStatus.UNKNOWN:
            return self._question(found)
        if status == CallStatus.ASKED and self._is_pinned_to_this(call, found):
            return self._question(found)
        return await self._claim(connection, call, found) or await self._ask_anew(connection, call, found)

    async def _propose(
        self, connection: Connection, call: ProposedCall, *, held: bool
    ) -> Grant | Question | Receipt | None:
        """Insert the call as the policy judges it; None where it stands already."""
        judgement = judge(call.tool.manifest)
        status = _first_status(call, judgement, held=held)
        allowed = status in (CallStatus.ALLOWED, CallStatus.EXECUTING)
        row = {
            **self._identity(call),
            **self._versions(call),
            "id": uuid4(),
            "tool": call.tool.name,
            "title": title_of(call.tool.name, call.tool.manifest, json.loads(call.arguments)),
            "status": status.value,
            "arguments": call.arguments,
            "digest": self._digest(call),
            "rerun": _rerun(call.tool.manifest).value,
            "asking": int(status == CallStatus.ASKED),
            "attempt": int(status == CallStatus.EXECUTING),
            "allowances": int(allowed),
            "epoch": self.epoch if status == CallStatus.EXECUTING else None,
            "result": f"Refused: {call.problem or judgement.why}" if status == CallStatus.DENIED else "",
        }
        if not await self._moved(connection, PROPOSE, row):
            return None
        actor = "policy" if allowed else "agent"
        await self._audit(connection, f"call.{status.value}", row["id"], actor, tool=row["tool"], digest=row["digest"])
        if status == CallStatus.EXECUTING:
            return _grant(row)
        if status == CallStatus.DENIED:
            return Receipt(content=row["result"], ok=False)
        if status == CallStatus.ALLOWED:
            self.held.add(row["id"])
        else:
            await connection.execute(
                REPEATABLE
            )  # suspending the run flushes it; before that it would be proposed again
        return self._question(row)

    async def _claim(self, connection: Connection, call: ProposedCall, found: Row) -> Grant | None:
        guard = {
            **self._versions(call),
            "id": found["id"],
            "epoch": self.epoch,
            "digest": self._digest(call, found["approved_arguments"] or found["arguments"]),  # of what would run
            "deciding_roles": [role.value for role in DECIDES],
        }
        if not await self._moved(connection, CLAIM, guard):
            return None
        await self._audit(
            connection, "call.executing", found["id"], digest=guard["digest"], attempt=found["attempt"] + 1
        )
        return _grant({**found, "attempt": found["attempt"] + 1})

    async def _after_a_crash(self, connection: Connection, call: ProposedCall, found: Row) -> Grant | Question:
        """The call was claimed and has no receipt: the drive that claimed it died in the effect's window.

        What changes something is run again only by the code that people allowed, under the same policy.
        """
        rerun = Rerun(found["rerun"])
        if rerun is Rerun.READ or (rerun in RERUN_FREELY and self._is_pinned_to_this(call, found)):
            await self._moved(connection, TAKE_OVER, {"id": found["id"], "epoch": self.epoch})
            await self._audit(connection, "call.taken_over", found["id"], attempt=found["attempt"])
            return _grant(found)
        await self._moved(connection, GIVE_UP_KNOWING, {"id": found["id"]})
        await self._audit(connection, "call.unknown", found["id"], attempt=found["attempt"])
        return self._question(found)

    async def _ask_anew(self, connection: Connection, call: ProposedCall, found: Row) -> Question:
        """What the approval was given for no longer holds: superseded, never assumed."""
        title = title_of(call.tool.name, call.tool.manifest, json.loads(call.arguments))
        await self._moved(connection, ASK_ANEW, {**self._versions(call), "id": found["id"], "title": title})
        await self._audit(connection, "call.superseded", found["id"], asking=found["asking"] + 1)
        return self._question({**found, "title": title})

    async def _settle(self, connection: Connection, grant: Grant, receipt: Receipt) -> str:
        """What the call was before; "" where this attempt has no say any more."""
        status = CallStatus.DONE if receipt.ok else CallStatus.FAILED
        change = {"id": grant.id, "attempt": grant.attempt, "epoch": self.epoch, "status": status.value}
        moved = await (await connection.execute(SETTLE, {**change, "result": receipt.content})).fetchone()
        action = f"call.{status.value}" if moved else "call.late_receipt"
        await self._audit(connection, action, grant.id, attempt=grant.attempt, result=digest(text=receipt.content))
        return str(moved["was"]) if moved else ""

    # how it speaks to the database

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        async with self.pool.connection() as connection, connection.transaction():
            await connection.execute(SCOPE, (str(self.tenant_id), str(self.epoch)))
            yield connection

    @asynccontextmanager
    async def _pipelined(self) -> AsyncIterator[Connection]:
        """The same in a pipeline: only statements whose answer is looked at wait for the database.

        BEGIN, the scope and the gate lock travel with the first question, the audit entry with COMMIT: 3 round trips
        where there were 7.
        """
        async with self.pool.connection() as connection, connection.pipeline(), connection.transaction():
            await connection.execute(SCOPE, (str(self.tenant_id), str(self.epoch)))
            yield connection

    async def _refuse_when_lost(self, connection: Connection, tool: str = "") -> bool:
        """Raise where this drive may not claim any more; else say whether this tool is on hold."""
        ours = await connection.execute(RUN_IS_OURS, {"run": self.run_id, "epoch": self.epoch, "tool": tool})
        row = await ours.fetchone()
        if row is None:
            raise NoLongerOurs
        return bool(row["held"])

    async def _moved(self, connection: Connection, statement: str, values: Row) -> int:
        moved = await connection.execute(f"{statement} RETURNING id", values)
        return len(await moved.fetchall())

    async def _fetch(self, connection: Connection, statement: str, values: Row) -> Row:
        row = await (await connection.execute(statement, values)).fetchone()
        assert row is not None
        return row

    async def _audit(
        self, connection: Connection, action: str, call: UUID, actor: str = "system", **facts: Any
    ) -> None:
        values = {"tenant": self.tenant_id, "actor": actor, "action": action, "id": call, "facts": json.dumps(facts)}
        await connection.execute(AUDIT, values)

    # what identifies a call, and what its approval is bound to

    def _identity(self, call: ProposedCall) -> dict[str, Any]:
        return {"run": self.run_id, "message": call.message_id, "call": call.call_id}

    def _versions(self, call: ProposedCall) -> dict[str, Any]:
        return {
            "tool_version": call.tool.version,
            "graph_version": self.graph_version,
            "policy_version": judge(call.tool.manifest).version,
        }

    def _is_pinned_to_this(self, call: ProposedCall, found: Row) -> bool:
        return all(found[name] == version for name, version in self._versions(call).items())

    def _digest(self, call: ProposedCall, edited: str = "") -> str:
        return call_digest(
            tenant_id=self.tenant_id,
            run_id=self.run_id,
            message_id=call.message_id,
            call_id=call.call_id,
            tool=call.tool.name,
            arguments=edited or call.arguments,
        )

    def _question(self, row: Row) -> Question:
        self.questions.add(row["id"])
        return Question(description=row["title"], digest=row["digest"])


@dataclass
class _TransactionalEffect:
    ledger: PostgresLedger
    connection: Connection
    grant: Grant

    async def settle(self, receipt: Receipt) -> None:
        """Raises where this grant is used up: an effect without its receipt must not commit."""
        if not await self.ledger._settle(self.connection, self.grant, receipt):
            raise NoLongerOurs


def _first_status(call: ProposedCall, judgement: Judgement, *, held: bool) -> CallStatus:
    if call.problem or judgement.outcome is Outcome.DENY:
        return CallStatus.DENIED
    if judgement.outcome is Outcome.ASK:
        return CallStatus.ASKED
    return CallStatus.ALLOWED if held else CallStatus.EXECUTING


def _rerun(manifest: Manifest | None) -> Rerun:
    return manifest.rerun if manifest else Rerun.ONCE


def _grant(row: Row) -> Grant:
    """The key names the allowance, not the process: a run again after a crash hands the provider the same one."""
    return Grant(
        id=row["id"],
        arguments=json.loads(row.get("approved_arguments") or row["arguments"]),
        attempt=row["attempt"],
        idempotency_key=f"{row['id']}:{row['attempt']}",
    )
