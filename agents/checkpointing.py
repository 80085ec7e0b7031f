"""The saver for one drive of one thread: it says whose tenant and which lease epoch it is before each statement.

A trigger on the checkpoint tables refuses an epoch that is not the lease's present one, inside the saver's own
transaction, so a worker that lost its lease cannot write any more, whatever it still believes. `_cursor` is private to
langgraph-checkpoint-postgres: its version is pinned, and tests/runner/test_langgraph_checkpoints.py holds what we rely on.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

SCOPE = "select set_config('app.tenant_id', %s, false), set_config('app.lease_epoch', %s, false)"
LONGEST_INLINE = 4096  # characters; a longer one would be copied into every checkpoint row (1 MB x 5 steps: 6 MB)

Pool = AsyncConnectionPool[AsyncConnection[DictRow]]


def open_pool(conninfo: str, *, max_size: int) -> Pool:
    """A pool for savers and ledgers; open it in the loop that will use it.

    No check at checkout: each of the saver's operations is one, and a check made 12 round trips a cycle into 36. A dead
    connection fails one operation, the drive is queued again, and the pool has replaced it by then.
    """
    keywords = {
        "autocommit": True,  # otherwise every checkpoint vanishes silently
        "prepare_threshold": 0,
        "row_factory": dict_row,
        "options": "-c search_path=langgraph,public",  # the saver's SQL is unqualified
        "application_name": "gatehouse worker: graph",
    }
    return AsyncConnectionPool(conninfo, min_size=2, max_size=max_size, kwargs=keywords, open=False, max_idle=300)


class FencedSaver(AsyncPostgresSaver):
    def __init__(self, pool: Pool, *, tenant_id: UUID, lease_epoch: int) -> None:
        super().__init__(pool, serde=SERDE)
        self._scope = (str(tenant_id), str(lease_epoch))

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        """Without the library's lock: every operation has a connection of its own."""
        assert isinstance(self.conn, AsyncConnectionPool)
        async with (
            self.conn.connection() as connection,
            connection.pipeline(),
            connection.cursor(binary=True, row_factory=dict_row) as cursor,
        ):
            await cursor.execute(SCOPE, self._scope)
            yield cursor

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        values = {
            key: _Box(value) if _needs_box(value) else value for key, value in checkpoint["channel_values"].items()
        }
        return await super().aput(config, {**checkpoint, "channel_values": values}, metadata, new_versions)


class _Box:
    """Carries a primitive past the saver's inline column, into a blob."""

    __slots__ = ("value",)

    def __init__(self, value: str | float) -> None:
        self.value = value


class _BoxSerializer(JsonPlusSerializer):
    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return super().dumps_typed(obj.value if isinstance(obj, _Box) else obj)


def _needs_box(value: Any) -> bool:
    """True for top-level primitives that JSONB refuses, or that are too long to be copied into every row."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if not isinstance(value, str):
        return False
    return len(value) > LONGEST_INLINE or "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value)


SERDE = _BoxSerializer(allowed_msgpack_modules=None)  # strict: anything unlisted loads as plain data
