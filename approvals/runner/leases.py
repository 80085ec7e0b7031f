"""The right of one worker to drive one thread, held by one guarded UPDATE and kept by a heart of its own.

Raising the epoch on each acquisition is what fences a worker that lost its lease: the saver's trigger and the ledger
compare it. All times are the database's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg

from agents.checkpointing import Pool

log = logging.getLogger(__name__)

# SKIP LOCKED: a worker frozen inside a transaction keeps its lease locked, and whoever waited for it would stand still too.
# The sweep comes back to the thread.
ACQUIRE = """
UPDATE conversations_lease
   SET epoch = epoch + 1, token = %(token)s, expires_at = clock_timestamp() + %(seconds)s * interval '1 second'
 WHERE thread_id = (SELECT thread_id FROM conversations_lease
                     WHERE thread_id = %(thread)s AND (expires_at IS NULL OR expires_at < clock_timestamp())
                       FOR UPDATE SKIP LOCKED)
RETURNING epoch
"""
RELEASE = "UPDATE conversations_lease SET token = NULL, expires_at = NULL WHERE thread_id = %s AND token = %s"
BEAT = """
UPDATE conversations_lease SET expires_at = clock_timestamp() + %s * interval '1 second'
 WHERE token = ANY(%s) RETURNING token
"""


@dataclass(frozen=True, kw_only=True)
class Lease:
    thread_id: UUID
    tenant_id: UUID
    epoch: int
    token: UUID


async def acquire(pool: Pool, *, thread_id: UUID, tenant_id: UUID, seconds: float) -> Lease | None:
    token = uuid4()
    async with pool.connection() as connection:
        cursor = await connection.execute(ACQUIRE, {"token": token, "seconds": seconds, "thread": thread_id})
        row = await cursor.fetchone()
    return Lease(thread_id=thread_id, tenant_id=tenant_id, epoch=row["epoch"], token=token) if row else None


async def release(pool: Pool, lease: Lease) -> None:
    async with pool.connection() as connection:
        await connection.execute(RELEASE, (lease.thread_id, lease.token))


class Heart(threading.Thread):
    """Renews every lease of this worker from an OS thread with a connection of its own: a busy loop must not lose them."""

    def __init__(self, conninfo: str, *, lease_seconds: float) -> None:
        super().__init__(name="heart", daemon=True)
        self._conninfo = conninfo
        self._seconds = lease_seconds
        self._held: dict[UUID, Callable[[], object]] = {}
        self._stopping = threading.Event()

    def hold(self, lease: Lease, on_loss: Callable[[], object]) -> None:
        """Renew this lease until `let_go`; call `on_loss` (from the heart's thread) should it be gone."""
        self._held[lease.token] = on_loss

    def let_go(self, lease: Lease) -> None:
        self._held.pop(lease.token, None)

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                with psycopg.connect(
                    self._conninfo, autocommit=True, application_name="gatehouse worker: heart"
                ) as own:
                    while not self._stopping.wait(self._seconds / 6):
                        self._beat(own)
            except psycopg.Error as error:
                log.warning("the heart lost its connection: %s", type(error).__name__)
                self._stopping.wait(min(1.0, self._seconds / 6))

    def _beat(self, own: psycopg.Connection) -> None:
        tokens = list(self._held)
        if not tokens:
            return
        renewed = {token for (token,) in own.execute(BEAT, (self._seconds, tokens))}
        for token in set(tokens) - renewed:
            if on_loss := self._held.pop(token, None):
                on_loss()
