"""The same cycles with LangGraph alone, as its documentation would have one do it: what the product is measured by."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import psycopg
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.types import Command, Interrupt, interrupt
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from agents.graphs.support_desk import INSTRUCTIONS
from agents.models.desk_script import support_desk
from agents.models.scripted import ScriptedChatModel
from agents.tools.shop import TOOLS, Body, Recipient, Subject
from tests.bench.product import prompt, rate
from tests.stack import Stack

Pool = AsyncConnectionPool[AsyncConnection[DictRow]]
SCHEMA = "bare"  # its checkpoints stand apart, in tables without tenants and fences
SEND = "INSERT INTO shop.outbox (tenant_id, recipient, subject, body, idempotency_key) VALUES (%s, %s, %s, %s, %s)"


def prepare(stack: Stack) -> None:
    url = stack.environment["DATABASE_OWNER_URL"]
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as owner:
        owner.execute(f"CREATE SCHEMA {SCHEMA}")
        owner.execute(f"SET search_path = {SCHEMA}")
        PostgresSaver(owner).setup()


async def cycles_a_second(stack: Stack, *, cycles: int, at_once: int, name: str) -> float:
    tenant = stack.row("SELECT id::text FROM tenants_tenant WHERE slug = 'acme'")["id"]
    async with _pool(stack.environment["DATABASE_OWNER_URL"], at_once) as pool:
        graph = _graph(pool, tenant)
        return await rate(cycles, [lambda number: _cycle(graph, pool, f"{name}-{number}")] * at_once)


@asynccontextmanager
async def _pool(url: str, at_once: int) -> AsyncIterator[Pool]:
    keywords = {
        "autocommit": True,
        "prepare_threshold": 0,
        "row_factory": dict_row,
        "options": f"-c search_path={SCHEMA},public",
    }
    async with AsyncConnectionPool(url, min_size=2, max_size=at_once + 4, kwargs=keywords, open=False) as pool:
        yield pool


def _graph(pool: Pool, tenant: str) -> Any:
    """The support desk, with a tool that asks by itself in place of the gated one."""
    tools = [_ungated_mail(pool, tenant) if tool.name == "send_email" else tool for tool in TOOLS]
    model = ScriptedChatModel(script=support_desk)
    return create_agent(model=model, tools=tools, system_prompt=INSTRUCTIONS, name="support_desk")


def _ungated_mail(pool: Pool, tenant: str) -> BaseTool:
    async def send_email(to: Recipient, subject: Subject, body: Body) -> str:
        """Send one plain-text email in the shop's name."""
        if interrupt({"type": "tool_approval", "name": "send_email", "args": {"to": to}}) != "approve":
            return "Not sent."
        async with pool.connection() as connection, connection.transaction():
            await connection.execute("SELECT set_config('app.tenant_id', %s, true)", [tenant])
            await connection.execute(SEND, [tenant, to, subject, body, str(uuid4())])
        return f"Sent to {to}."

    return StructuredTool.from_function(coroutine=send_email)


async def _cycle(base: Any, pool: Pool, name: str) -> None:
    graph = base.copy(update={"checkpointer": AsyncPostgresSaver(pool)})  # type: ignore[arg-type]
    config: RunnableConfig = {"configurable": {"thread_id": str(uuid4())}}
    [asked] = await _drive(graph, {"messages": [HumanMessage(prompt(name))]}, config)
    left = await _drive(graph, Command(resume={asked.id: "approve"}), config)
    assert not left


async def _drive(graph: Any, given: Any, config: RunnableConfig) -> list[Interrupt]:
    """What interrupted it. The stream is consumed as the product does, and thrown away."""
    interrupts: dict[str, Interrupt] = {}
    async for part in graph.astream(
        given, config, stream_mode=["messages", "updates"], version="v2", durability="sync", subgraphs=True
    ):
        if part["type"] == "updates" and "__interrupt__" in part["data"]:
            interrupts.update({each.id: each for each in part["data"]["__interrupt__"]})
    return list(interrupts.values())
