"""One worker's way through one thread: acquire the lease, drive what is due, hand on the outcome, look once more.

A drive never decides anything: gated calls read the ledger, and a graph's own question gets the answer a person gave.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from asgiref.sync import sync_to_async
from django.db import connection
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels import LastValue
from langgraph.types import Command, Interrupt, StateSnapshot
from psycopg_pool import PoolTimeout

from agents.canonical import NotCanonical, canonical
from agents.checkpointing import FencedSaver, Pool
from agents.contracts import RunContext, driving
from agents.gate import at_rest
from agents.registry import RegisteredGraph
from approvals.calls.titles import shown
from approvals.runner import outcomes
from approvals.runner.leases import Heart, Lease, acquire, release
from approvals.runner.ledger import NoLongerOurs, PostgresLedger
from approvals.runner.outcomes import Delivery, Pause, Turn
from approvals.runner.transcript import Transcript

log = logging.getLogger(__name__)

STALE_EPOCH = "GH001"  # raised by the fence on the checkpoint tables
MACHINERY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)  # not the graph's fault: worth another try
LONGEST_TITLE = 120  # characters of a graph's question in the queue


@dataclass(kw_only=True)
class Driver:
    """What a worker process has once: its pool, its heart, its graphs."""

    pool: Pool
    heart: Heart
    graphs: Mapping[str, RegisteredGraph]
    lease_seconds: float

    async def drive(self, *, thread_id: UUID, tenant_id: UUID) -> None:
        """Drive the thread until nothing of it is due. Returns at once where another worker has it."""
        while True:
            lease = await acquire(self.pool, thread_id=thread_id, tenant_id=tenant_id, seconds=self.lease_seconds)
            if lease is None:
                return
            await self._drive_under(lease)
            # A wake-up that came while we held the lease found it taken and ended.
            if not await sync_to_async(outcomes.is_due)(thread_id=thread_id):
                return

    async def _drive_under(self, lease: Lease) -> None:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        self.heart.hold(lease, lambda: loop.call_soon_threadsafe(task.cancel))
        try:
            if turn := await sync_to_async(_begin_turn)(lease):
                await self._drive_turn(lease, turn)
        finally:
            self.heart.let_go(lease)
            with suppress(*MACHINERY):  # it runs out by itself
                await asyncio.shield(release(self.pool, lease))

    async def _drive_turn(self, lease: Lease, turn: Turn) -> None:
        """One outcome for each drive: suspended, finished, failed, or to be tried again."""
        ended: dict[str, Any] = {"run_id": turn.run_id, "epoch": lease.epoch}
        found = self.graphs.get(turn.graph_id)
        if reason := turn.unanswered or _unusable(turn.graph_id, found):
            await sync_to_async(outcomes.fail)(**ended, reason=reason)
            return
        assert found is not None
        drive = _Drive.of(self.pool, lease, turn, found)
        try:
            await drive.run()
        except NoLongerOurs:
            log.info("run %s is no longer this worker's", turn.run_id)
        except MACHINERY as error:
            await sync_to_async(outcomes.try_again)(**ended, reason=f"{type(error).__name__}: {error}")
        except psycopg.Error as error:
            if error.sqlstate != STALE_EPOCH:
                await sync_to_async(outcomes.fail)(**ended, reason=f"{type(error).__name__}: {error}")
        except Exception as error:  # the graph is somebody else's code: whatever it raises ends this run only
            log.info("run %s failed: %s", turn.run_id, type(error).__name__)
            await sync_to_async(outcomes.fail)(**ended, reason=f"{type(error).__name__}: {error}")
        else:
            await self._hand_on(drive, ended)

    async def _hand_on(self, drive: _Drive, ended: dict[str, Any]) -> None:
        ended["graph_version"] = drive.found.version
        if not drive.interrupts and not drive.at_breakpoint:
            await sync_to_async(outcomes.finish)(**ended)
            return
        try:
            pauses = await drive.pauses()
        except NotCanonical as error:
            reason = f"The graph asks something that cannot be shown faithfully: {error}."
            await sync_to_async(outcomes.fail)(run_id=ended["run_id"], epoch=ended["epoch"], reason=reason)
            return
        ledger = drive.ledger
        await sync_to_async(outcomes.suspend)(**ended, questions=ledger.questions, held=ledger.held, pauses=pauses)


def _begin_turn(lease: Lease) -> Turn | None:
    """Then the connection goes back to the pool: a drive may take minutes, and there may be more drives than connections."""
    try:
        return outcomes.begin_turn(thread_id=lease.thread_id, epoch=lease.epoch)
    finally:
        connection.close_if_unusable_or_obsolete()


@dataclass(kw_only=True)
class _Drive:
    """One pass of one run through its graph."""

    turn: Turn
    thread_id: UUID
    found: RegisteredGraph
    graph: Any
    config: RunnableConfig
    saver: FencedSaver
    ledger: PostgresLedger
    transcript: Transcript
    context: RunContext
    interrupts: dict[str, Interrupt] = field(default_factory=dict)
    at_breakpoint: bool = False

    @classmethod
    def of(cls, pool: Pool, lease: Lease, turn: Turn, found: RegisteredGraph) -> _Drive:
        whose: dict[str, Any] = {
            "pool": pool,
            "tenant_id": lease.tenant_id,
            "epoch": lease.epoch,
            "run_id": turn.run_id,
        }
        note = sync_to_async(outcomes.note_late_receipt)
        ledger = PostgresLedger(**whose, graph_version=found.version, on_late_receipt=note)
        saver = FencedSaver(pool, tenant_id=lease.tenant_id, lease_epoch=lease.epoch)
        return cls(
            turn=turn,
            thread_id=lease.thread_id,
            found=found,
            graph=found.graph.copy(update={"checkpointer": saver}),
            # Strict: an answer to an interrupt that is not pending is an error, not silence (langgraph#8836).
            config={
                "configurable": {"thread_id": str(lease.thread_id), "__pregel_strict_resume": True},
                "metadata": {"gatehouse_run": str(turn.run_id)},
                "recursion_limit": 100,
            },
            saver=saver,
            ledger=ledger,
            transcript=Transcript(**whose, conversation_id=turn.conversation_id),
            context=RunContext(
                tenant_id=lease.tenant_id,
                run_id=turn.run_id,
                ledger=ledger,
                loop=asyncio.get_running_loop(),
                database=pool,
            ),
        )

    async def run(self) -> None:
        """Feed the graph what it waits for. Returns only when every effect in flight has its receipt."""
        with driving(self.context):
            try:
                if not self.turn.deliveries:
                    await self._stream(await self._input())
                for delivery in self.turn.deliveries:
                    await self._deliver(delivery)
            finally:
                # In a ToolNode a sibling's pause ends the task while an approved call is still running (measured).
                await at_rest(self.context)

    async def pauses(self) -> list[Pause]:
        """The graph's own questions among what interrupted it; gated calls are asked from the ledger instead."""
        own = [each for each in self.interrupts.values() if not _is_gated(each)]
        if not own:
            return []
        snapshot = await self.graph.aget_state(self.config)
        state = canonical({"values": self._editable(snapshot.values), "checkpoint": _checkpoint_of(snapshot)})
        return [
            Pause(interrupt_id=each.id, payload=canonical(each.value), state=state, title=_title(each.value))
            for each in own
        ]

    async def _input(self) -> Any:
        """The user's message the first time; None, which re-runs what waits and delivers nothing, ever after."""
        if self.turn.suspended_before or (self.turn.driven_before and await self._has_begun()):
            return None
        said = HumanMessage(self.turn.text, id=self.turn.message_id)
        return {"messages": [*(await self._owed_answers()), said]}

    async def _owed_answers(self) -> list[ToolMessage]:
        """Honest tool messages for calls that a stopped or failed run left open: providers refuse a history with gaps."""
        newest = await self.saver.aget_tuple(self.config) if self.turn.follows_a_broken_one else None
        messages = newest.checkpoint["channel_values"].get("messages") if newest else None
        last = next((m for m in reversed(messages or []) if isinstance(m, AIMessage)), None)
        if last is None or not last.tool_calls:
            return []
        answered = {m.tool_call_id for m in messages or [] if isinstance(m, ToolMessage)}
        owed = [call for call in last.tool_calls if call["id"] and call["id"] not in answered]
        became = await sync_to_async(outcomes.what_became_of)(
            thread_id=self.thread_id, message_id=last.id or "", call_ids=[str(call["id"]) for call in owed]
        )
        return [
            ToolMessage(
                became.get(str(call["id"]), outcomes.UNANSWERED),
                name=call["name"],
                tool_call_id=str(call["id"]),
                status="error",
            )
            for call in owed
        ]

    async def _has_begun(self) -> bool:
        """Whether a drive that died had saved this run's input."""
        newest = await self.saver.aget_tuple(self.config)
        return newest is not None and newest.metadata.get("gatehouse_run") == str(self.turn.run_id)

    async def _deliver(self, delivery: Delivery) -> None:
        """Answer one pause by id, after checking under the lease that it still asks what the person saw.

        An id alone does not say what was asked: new code inherits it, and a state edit keeps it. The edit travels with
        the answer and is applied before the asking node runs again.
        """
        snapshot = await self.graph.aget_state(self.config)
        if self._asks(snapshot, delivery):
            answer: Command[Any] = Command(
                resume={delivery.interrupt_id: delivery.answer}, update=dict(delivery.state_edit) or None
            )
            await self._stream(answer)
            await sync_to_async(outcomes.delivered)(decision_id=delivery.decision_id)
            return
        if _checkpoint_of(snapshot) == delivery.checkpoint:
            await sync_to_async(outcomes.superseded_pause)(decision_id=delivery.decision_id)
        else:  # a drive that died had delivered it: under the lease nobody else could have moved the thread
            await sync_to_async(outcomes.delivered)(decision_id=delivery.decision_id)
        await self._stream(None)

    def _asks(self, snapshot: StateSnapshot, delivery: Delivery) -> bool:
        pending = {each.id: each.value for each in snapshot.interrupts}
        asked = pending.get(delivery.interrupt_id)
        return asked is not None and canonical(asked) == delivery.payload

    async def _stream(self, graph_input: Any) -> None:
        self.interrupts, self.at_breakpoint = {}, False
        async for part in self.graph.astream(
            graph_input,
            self.config,
            stream_mode=["messages", "updates"],
            version="v2",
            durability="sync",  # the library's default loses the step before a crash
            subgraphs=True,
        ):
            if part["type"] == "updates" and "__interrupt__" in part["data"]:
                self._note_interrupts(part)
            else:
                await self.transcript.take(part)

    def _note_interrupts(self, part: Mapping[str, Any]) -> None:
        if part["ns"]:  # told again, whole, by the outermost graph
            return
        raised = part["data"]["__interrupt__"]
        self.interrupts.update({each.id: each for each in raised})
        self.at_breakpoint = self.at_breakpoint or not raised

    def _editable(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The parts of the state that one writer owns and that JSON can hold; reducers' channels are not for editing."""
        owned = {name for name, channel in self.graph.channels.items() if type(channel) is LastValue}
        return {name: value for name, value in values.items() if name in owned and _is_canonical(value)}


def _checkpoint_of(snapshot: StateSnapshot) -> str:
    return str(snapshot.config["configurable"].get("checkpoint_id", ""))


def _is_gated(interrupt: Interrupt) -> bool:
    value = interrupt.value
    return isinstance(value, dict) and value.get("type") == "tool_approval" and "digest" in value


def _is_canonical(value: Any) -> bool:
    try:
        canonical(value)
    except NotCanonical:
        return False
    return True


def _title(payload: Any) -> str:
    question = payload.get("question") if isinstance(payload, dict) else payload
    return shown(question if isinstance(question, str) else "The graph asks for an answer", longest=LONGEST_TITLE)


def _unusable(graph_id: str, found: RegisteredGraph | None) -> str:
    if found is None:
        return f"There is no graph {graph_id!r} in langgraph.json."
    return f"The graph {graph_id!r} does not load. {found.problem}" if found.problem else ""
