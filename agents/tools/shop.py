"""The demo shop's tools, of every kind: reads, an idempotent payment, a mail, changes in the receipt's transaction.

The tables (shop.sql) stand for other people's systems: `shop.refunds` is a payment provider that takes our key, and
`shop.outbox` is a mail provider that takes none.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias

from langchain_core.tools import ToolException
from psycopg import AsyncCursor
from psycopg.rows import dict_row
from pydantic import Field, WithJsonSchema

from agents.contracts import Effect, Rerun, Risk, current_effect
from agents.gate import gated_tool

Shop: TypeAlias = AsyncCursor[dict[str, Any]]

OrderNumber = Annotated[int, Field(ge=1, le=2_147_483_647, description="The number of the order, for example 1041.")]
# No multipleOf: 19.99 is no multiple of 0.01 to a validator that divides floats. `_dollars` counts the decimals.
Amount = Annotated[float, Field(gt=0, le=1_000_000, description="US dollars, at most two decimals, for example 89.90.")]
Reason = Annotated[str, Field(min_length=1, max_length=500, description="Why, in one sentence; it is kept.")]
Address = Annotated[
    str, Field(min_length=8, max_length=300, description="The whole new address: street, postal code, city, country.")
]
ADDRESS_OF_MAIL = r"^[^@\s<>,;]+@[^@\s<>,;]+\.[^@\s<>,;]+$"
Recipient = Annotated[
    str,
    Field(max_length=254, pattern=ADDRESS_OF_MAIL, description="One e-mail address, without a name."),
    # LangChain drops json_schema_extra, and with it a format.
    WithJsonSchema({"type": "string", "format": "email", "maxLength": 254, "pattern": ADDRESS_OF_MAIL}),
]
Subject = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\r\n]+$", description="One line.")]
Body = Annotated[str, Field(min_length=1, max_length=10_000, description="Plain text, with greeting and signature.")]
Query = Annotated[
    str, Field(max_length=200, description="Part of a customer's name or e-mail, or of an item. Empty: all orders.")
]
Status = Literal["processing", "shipped", "delivered", "cancelled", "any"]
Limit = Annotated[int, Field(ge=1, le=50, description="How many orders to return, newest first.")]


class ShopError(ToolException):
    """The shop did not do it, and nothing was changed. The text is for the model."""


@asynccontextmanager
async def _shop() -> AsyncIterator[Shop]:
    """A cursor on this tenant's shop, in a transaction: the receipt's own where the call has one.

    The tenant is set for the transaction only, so that no later borrower of the connection inherits it.
    """
    effect = current_effect()
    if effect.connection is not None:
        async with effect.connection.cursor(row_factory=dict_row) as shop:
            yield await _as_tenant(shop)
        return
    async with (
        effect.database.connection() as connection,
        connection.transaction(),
        connection.cursor(row_factory=dict_row) as shop,
    ):
        yield await _as_tenant(shop)


async def _as_tenant(shop: Shop) -> Shop:
    await shop.execute("select set_config('app.tenant_id', %s, true)", [str(current_effect().tenant_id)])
    return shop


# Reading

ORDER = """
    select o.number, o.status, c.name, c.email, o.items, o.total, o.currency, o.placed_at, o.address, (
        select coalesce(sum(r.amount), 0) from shop.refunds r
        where r.tenant_id = o.tenant_id and r.order_number = o.number) as refunded
    from shop.orders o join shop.customers c on c.tenant_id = o.tenant_id and c.id = o.customer_id
"""


@gated_tool(
    title="Look up order {order_number}",
    effect=Effect.READS,
    reversible=True,
    reach="The shop's orders",
    risk=Risk.LOW,
    rerun=Rerun.READ,
)
async def look_up_order(order_number: OrderNumber) -> str:
    """Look up one order by its number: status, customer, items, total, what was refunded and what is left to refund."""
    async with _shop() as shop:
        await shop.execute(ORDER + "where o.number = %s", [order_number])
        row = await shop.fetchone()
    if row is None:
        raise _no_such_order(order_number)
    return json.dumps(_facts(row), ensure_ascii=False)


@gated_tool(
    title="Search orders for “{query}”",
    effect=Effect.READS,
    reversible=True,
    reach="The shop's orders",
    risk=Risk.LOW,
    rerun=Rerun.READ,
)
async def search_orders(query: Query, status: Status = "any", limit: Limit = 10) -> str:
    """Search the orders by customer or item, newest first. Returns a list with what look_up_order tells of each."""
    wanted = {"like": f"%{_literally(query.strip())}%", "status": status, "limit": limit}
    async with _shop() as shop:
        await shop.execute(
            ORDER
            + "where (c.name ilike %(like)s or c.email ilike %(like)s or jsonb_path_query_array(o.items, '$[*].name')"
            "::text ilike %(like)s) and %(status)s in (o.status, 'any') order by o.number desc limit %(limit)s",
            wanted,
        )
        return json.dumps([_facts(row) for row in await shop.fetchall()], ensure_ascii=False)


def _literally(text: str) -> str:
    """The text for LIKE, with its wildcards meant as characters."""
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "order_number": row["number"],
        "status": row["status"],
        "customer": {"name": row["name"], "email": row["email"]},
        "items": row["items"],
        "total": float(row["total"]),
        "refunded": float(row["refunded"]),
        "left_to_refund": float(row["total"] - row["refunded"]),
        "currency": row["currency"],
        "placed_on": row["placed_at"].date().isoformat(),
        "address": row["address"],
    }


def _no_such_order(number: int) -> ShopError:
    return ShopError(f"There is no order {number}.")


# Acting


@gated_tool(
    title="Refund ${amount:.2f} on order {order_number}",
    button="refund of ${amount:.2f} on order {order_number}",
    effect=Effect.MOVES_MONEY,
    reversible=False,
    reach="Payment provider",
    risk=Risk.HIGH,
    rerun=Rerun.IDEMPOTENT,
)
async def issue_refund(order_number: OrderNumber, amount: Amount, reason: Reason) -> str:
    """Refund money to the customer who paid for an order. All refunds of an order together never exceed its total."""
    dollars, key = _dollars(amount), current_effect().idempotency_key
    async with _shop() as shop:
        order = await _locked(shop, order_number)
        if await _counted_before(shop, key, order_number, dollars):
            return f"Refunded ${dollars} on order {order_number}, counted before: no second refund was made."
        left = order["total"] - await _refunded(shop, order_number)
        if dollars > left:
            raise ShopError(f"Nothing was refunded: only ${left} of order {order_number} is left to refund.")
        await shop.execute(
            "insert into shop.refunds (tenant_id, order_number, amount, reason, idempotency_key)"
            " values (%s, %s, %s, %s, %s)",
            [current_effect().tenant_id, order_number, dollars, reason, key],
        )
    return f"Refunded ${dollars} on order {order_number}. ${left - dollars} of it is left to refund."


def _dollars(amount: float) -> Decimal:
    exact = Decimal(str(amount))
    if exact != round(exact, 2):
        raise ShopError(f"Nothing was refunded: {exact} has more than two decimals.")
    return round(exact, 2)


async def _locked(shop: Shop, number: int) -> dict[str, Any]:
    """The order's row, locked: whoever else touches it waits, so what is read after this holds until commit."""
    await shop.execute("select number, status, total, address from shop.orders where number = %s for update", [number])
    row = await shop.fetchone()
    if row is None:
        raise _no_such_order(number)
    return row


async def _counted_before(shop: Shop, key: str, number: int, dollars: Decimal) -> bool:
    await shop.execute("select order_number, amount from shop.refunds where idempotency_key = %s", [key])
    earlier = await shop.fetchone()
    if earlier and (earlier["order_number"], earlier["amount"]) != (number, dollars):
        raise ShopError("Nothing was refunded: the payment provider knows this key for another refund.")
    return earlier is not None


async def _refunded(shop: Shop, number: int) -> Decimal:
    await shop.execute(
        "select coalesce(sum(amount), 0) as refunded from shop.refunds where order_number = %s", [number]
    )
    row = await shop.fetchone()
    return Decimal(row["refunded"]) if row else Decimal(0)


@gated_tool(
    title="Email {to}: {subject}",
    button="email to {to}",
    effect=Effect.SENDS,
    reversible=False,
    reach="Customers' inboxes",
    risk=Risk.MEDIUM,
    rerun=Rerun.ONCE,
)
async def send_email(to: Recipient, subject: Subject, body: Body) -> str:
    """Send one plain-text email in the shop's name."""
    effect = current_effect()
    async with _shop() as shop:
        await shop.execute(
            "insert into shop.outbox (tenant_id, recipient, subject, body, idempotency_key)"
            " values (%s, %s, %s, %s, %s)",
            [effect.tenant_id, to, subject, body, effect.idempotency_key],
        )
    return f"Sent to {to}."


@gated_tool(
    title="Cancel order {order_number}",
    button="cancellation of order {order_number}",
    effect=Effect.CHANGES,
    reversible=False,
    reach="The shop's orders and the warehouse",
    risk=Risk.MEDIUM,
    rerun=Rerun.TRANSACTIONAL,
)
async def cancel_order(order_number: OrderNumber, reason: Reason) -> str:
    """Cancel an order that was not shipped yet. It moves no money: refund it with issue_refund."""
    async with _shop() as shop:
        await _unshipped(shop, order_number)
        await shop.execute(
            "update shop.orders set status = 'cancelled', closing_reason = %s where number = %s", [reason, order_number]
        )
    return f"Cancelled order {order_number}. No money was refunded by that."


async def _unshipped(shop: Shop, number: int) -> dict[str, Any]:
    order = await _locked(shop, number)
    if order["status"] != "processing":
        raise ShopError(f"Nothing was changed: order {number} is {order['status']} already.")
    return order


@gated_tool(
    title="Send order {order_number} to another address",
    button="new address for order {order_number}",
    effect=Effect.CHANGES,
    reversible=True,
    reach="The shop's orders and the warehouse",
    risk=Risk.MEDIUM,
    rerun=Rerun.TRANSACTIONAL,
)
async def change_address(order_number: OrderNumber, address: Address) -> str:
    """Change where an order that was not shipped yet is sent to."""
    async with _shop() as shop:
        order = await _unshipped(shop, order_number)
        await shop.execute("update shop.orders set address = %s where number = %s", [address, order_number])
    return f"Order {order_number} now goes to: {address}. It was: {order['address']}."


TOOLS = (look_up_order, search_orders, issue_refund, send_email, cancel_order, change_address)
