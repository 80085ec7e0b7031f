"""What we rely on in LangGraph's PostgreSQL saver and in procrastinate: a new version that changes it fails here."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from typing import Any, TypedDict
from uuid import UUID

import psycopg
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde._msgpack import STRICT_MSGPACK_ENABLED
from langgraph.graph import END, START, StateGraph

from agents.checkpointing import LONGEST_INLINE, SERDE, FencedSaver, Pool, open_pool
from tests.stack import Stack

checkpoints = import_module("approvals.runner.migrations.0001_checkpoints")
wake_workers = import_module("approvals.runner.migrations.0003_wake_workers")
HARD_VALUES = {  # as written and as read
    "NUL": ("a\x00b", "a\x00b"),
    "lone surrogate": ("a\ud800b", "a?b"),  # LangGraph's own encoding does that; the gate refuses them before
    "NaN": (math.nan, pytest.approx(math.nan, nan_ok=True)),
    "infinity": (-math.inf, -math.inf),
    "10 KB": ("x" * 10_240, "x" * 10_240),
}


class State(TypedDict, total=False):
    value: Any


class Thread:
    """A thread with its lease, that no worker drives."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.id = stack.person("member@acme.example").start("hello")
        stack.until(self.id, "succeeded")
        self.tenant_id: UUID = stack.run_of(self.id)["tenant_id"]
        self.config: RunnableConfig = {"configurable": {"thread_id": self.id}}

    @property
    def epoch(self) -> int:
        return int(self.stack.row("SELECT epoch FROM conversations_lease WHERE thread_id = %s", self.id)["epoch"])

    def written(self) -> int:
        query = "SELECT count(*) FROM langgraph.checkpoints WHERE thread_id = %s"
        return int(self.stack.row(query, self.id)["count"])


@pytest.fixture(scope="module")
def thread(shared_stack: Stack) -> Thread:
    return Thread(shared_stack)


@pytest.fixture
async def pool(shared_stack: Stack) -> AsyncIterator[Pool]:
    async with open_pool(shared_stack.environment["DATABASE_WORKER_URL"], max_size=4) as opened:
        yield opened


def test_the_saver_still_has_the_migrations_that_ours_was_made_of() -> None:
    assert len(AsyncPostgresSaver.MIGRATIONS) == checkpoints.VERSIONS == 10


def test_checkpoints_are_loaded_strictly() -> None:
    assert STRICT_MSGPACK_ENABLED


def test_a_type_that_is_not_listed_loads_as_plain_data() -> None:
    loaded = SERDE.loads_typed(SERDE.dumps_typed(_NotListed(secret="plain")))
    assert loaded == {"secret": "plain"}


@pytest.mark.parametrize(("value", "expected"), HARD_VALUES.values(), ids=HARD_VALUES)
async def test_a_value_that_jsonb_refuses_survives(thread: Thread, pool: Pool, value: object, expected: object) -> None:
    saver = FencedSaver(pool, tenant_id=thread.tenant_id, lease_epoch=thread.epoch)
    graph = _graph_that_returns(value, saver)
    await graph.ainvoke({"value": "before"}, thread.config)
    assert (await graph.aget_state(thread.config)).values["value"] == expected


async def test_a_long_text_is_not_copied_into_every_checkpoint(thread: Thread, pool: Pool) -> None:
    saver = FencedSaver(pool, tenant_id=thread.tenant_id, lease_epoch=thread.epoch)
    await _graph_that_returns("y" * (LONGEST_INLINE + 1), saver).ainvoke({"value": ""}, thread.config)
    copies = thread.stack.rows(
        "SELECT 1 FROM langgraph.checkpoints WHERE thread_id = %s AND checkpoint::text LIKE '%%yyyyyyyy%%'", thread.id
    )
    assert copies == []


@pytest.mark.parametrize("off_by", [-1, 1], ids=["older", "never given"])
async def test_another_epoch_than_the_leases_writes_nothing(thread: Thread, pool: Pool, off_by: int) -> None:
    saver = FencedSaver(pool, tenant_id=thread.tenant_id, lease_epoch=thread.epoch + off_by)
    before = thread.written()
    with pytest.raises(psycopg.Error) as refused:
        await _graph_that_returns("late", saver).ainvoke({"value": "late"}, thread.config)
    assert refused.value.sqlstate == "GH001"
    assert thread.written() == before


async def test_single_writes_are_fenced_too(thread: Thread, pool: Pool) -> None:
    current = FencedSaver(pool, tenant_id=thread.tenant_id, lease_epoch=thread.epoch)
    newest = await current.aget_tuple(thread.config)
    assert newest
    stale = FencedSaver(pool, tenant_id=thread.tenant_id, lease_epoch=thread.epoch - 1)
    with pytest.raises(psycopg.Error) as refused:
        await stale.aput_writes(newest.config, [("value", "late")], "a task")
    assert refused.value.sqlstate == "GH001"


async def test_another_tenant_finds_no_checkpoint(thread: Thread, pool: Pool) -> None:
    stranger = thread.stack.row("SELECT id FROM tenants_tenant WHERE slug = 'globex'")["id"]
    assert await FencedSaver(pool, tenant_id=thread.tenant_id, lease_epoch=thread.epoch).aget_tuple(thread.config)
    assert await FencedSaver(pool, tenant_id=stranger, lease_epoch=thread.epoch).aget_tuple(thread.config) is None


def test_procrastinate_still_listens_where_our_trigger_calls() -> None:
    theirs = files("procrastinate").joinpath("sql/schema.sql").read_text()
    for part in (
        "pg_notify('procrastinate_queue_v1#' || NEW.queue_name, payload)",
        "pg_notify('procrastinate_any_queue_v1', payload)",
        "json_build_object('type', 'job_inserted', 'job_id', NEW.id)::text",
    ):
        assert part in theirs
        assert part in wake_workers.WAKE


@dataclass
class _NotListed:
    secret: str


def _graph_that_returns(value: Any, saver: FencedSaver) -> Any:
    builder = StateGraph(State)
    builder.add_node("say", lambda _: {"value": value})
    builder.add_edge(START, "say")
    builder.add_edge("say", END)
    return builder.compile(checkpointer=saver)
