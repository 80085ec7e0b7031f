"""What the agents' side and the web side say to each other: plain values, no framework of either.

Words are those of docs/glossary.md. A *call* is one proposed tool call; the *ledger* is the table that lets it have at
most one effect for each attempt somebody allowed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID


class Effect(StrEnum):
    """What a tool does to the world."""

    READS = "reads"
    CHANGES = "changes"
    SENDS = "sends"
    MOVES_MONEY = "moves_money"
    DELETES = "deletes"
    UNKNOWN = "unknown"


class Risk(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    UNKNOWN = "unknown"


class Rerun(StrEnum):
    """What may happen when a worker died between a call's claim and its receipt."""

    READ = "read"  # run it again, freely
    IDEMPOTENT = "idempotent"  # run it again with the same key: the provider counts once
    TRANSACTIONAL = "transactional"  # effect and receipt commit together: run it again, nothing had happened
    ONCE = "once"  # nobody knows: `unknown`, and a person decides


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a tool does, in words people decide by. Written beside the tool; no word of it comes from a model.

    title    a template over the arguments: "Refund ${amount:.2f} on order {order_id}"
    button   the same as a verb phrase for the Approve button: "refund of {amount}"
    effect   what it does to the world
    reach    whom or what it touches: "Payment provider", "Customers' inboxes"
    """

    title: str
    button: str = ""
    effect: Effect = Effect.UNKNOWN
    reversible: bool = False
    reach: str = ""
    risk: Risk = Risk.UNKNOWN
    rerun: Rerun = Rerun.ONCE


@dataclass(frozen=True, kw_only=True)
class ToolCard:
    """A tool as the catalogue knows it. `version` changes with its code, schema or manifest."""

    name: str
    description: str
    schema: Mapping[str, Any]
    manifest: Manifest | None
    version: str


@dataclass(frozen=True, kw_only=True)
class ProposedCall:
    """One call as the model wrote it. `arguments` are canonical JSON (RFC 8785), the bytes that people will see."""

    message_id: str
    call_id: str
    tool: ToolCard
    arguments: str
    problem: str = ""  # why this call can never run (schema broken, duplicate id): the model is told, nobody is asked


@dataclass(frozen=True, kw_only=True)
class Grant:
    """The right to one effect: attempt `attempt` of this call, with exactly these arguments."""

    id: UUID
    arguments: Mapping[str, Any]
    attempt: int
    idempotency_key: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """People have to answer first: pause."""

    description: str  # the manifest's title over these arguments; never a model's words
    digest: str


@dataclass(frozen=True, kw_only=True)
class InFlight:
    """This very drive is carrying the call out already; `RunContext.in_flight` has the task."""

    id: UUID


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a call came to, as the model is told. Recorded once, and returned on every later run of the same call."""

    content: str
    ok: bool = True


class CallLedger(Protocol):
    """The gate's view of the ledger. Each method is one transaction on the database's clock."""

    async def enter(self, call: ProposedCall) -> Grant | InFlight | Question | Receipt:
        """Propose or find the call; claim it if it may run now; else say what it waits for or what it came to."""

    async def settle(self, grant: Grant, receipt: Receipt) -> None:
        """Record what the effect came to. A receipt that comes late is recorded, never counted as another effect."""

    def transaction(self, grant: Grant) -> AbstractAsyncContextManager[TransactionalEffect]:
        """Run a `transactional` tool: effect and receipt commit together, or neither."""


class TransactionalEffect(Protocol):
    connection: Any  # psycopg.AsyncConnection, inside a transaction

    async def settle(self, receipt: Receipt) -> None: ...


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What one drive of a thread gives to everything below it. Never part of a checkpoint."""

    tenant_id: UUID
    run_id: UUID
    ledger: CallLedger
    loop: Any  # asyncio.AbstractEventLoop that drives this run
    in_flight: dict[UUID, Any] = field(default_factory=dict)  # call -> asyncio.Task; awaited before the drive ends
    entering: set[Any] = field(default_factory=set)  # asyncio.Tasks that ask the ledger just now; awaited too
    ended: threading.Event = field(
        default_factory=threading.Event
    )  # from here on nothing enters: a straggler is refused
    database: Any = None  # psycopg_pool.AsyncConnectionPool of the worker, for tools on the same database


@dataclass(frozen=True, kw_only=True)
class EffectContext:
    """What a tool may ask about the call it is running for: `current_effect()`."""

    tenant_id: UUID
    run_id: UUID
    call_id: UUID
    attempt: int
    idempotency_key: str  # the same for every attempt of one approval: hand it to the provider
    connection: Any = None  # psycopg.AsyncConnection inside the receipt's transaction; `transactional` tools only
    database: Any = None


_run: ContextVar[RunContext] = ContextVar("gatehouse_run")
_effect: ContextVar[EffectContext] = ContextVar("gatehouse_effect")


class OutsideARun(RuntimeError):
    """A gated tool was called where no run drives it; nothing was executed."""


def current_run() -> RunContext:
    try:
        return _run.get()
    except LookupError:
        raise OutsideARun from None


def current_effect() -> EffectContext:
    try:
        return _effect.get()
    except LookupError:
        raise OutsideARun from None


@contextmanager
def driving(context: RunContext) -> Iterator[None]:
    token = _run.set(context)
    try:
        yield
    finally:
        context.ended.set()
        _run.reset(token)


@contextmanager
def executing(context: EffectContext) -> Iterator[None]:
    token = _effect.set(context)
    try:
        yield
    finally:
        _effect.reset(token)
