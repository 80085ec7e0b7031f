"""Globex's people and Globex's connections see nothing of Acme: each layer is asked by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.errors import ForeignKeyViolation, InsufficientPrivilege
from psycopg.rows import dict_row

from tests.db.exempt import EXEMPT
from tests.stack import Stack, decide

ROLES = {"web": "DATABASE_URL", "worker": "DATABASE_WORKER_URL"}
STRANGERS = ("member@globex.example", "reviewer@globex.example")
Connection = psycopg.Connection[dict[str, Any]]
# Tables of tenants in the whole database: those that carry the id, and LangGraph's, which carry the thread's.
TENANT_TABLES = """
SELECT n.nspname || '.' || c.relname AS name, n.nspname AS schema,
       EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id') AS has_tenant
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
               AND (a.attname = 'tenant_id' OR (n.nspname = 'langgraph' AND a.attname = 'thread_id')))
 ORDER BY 1
"""
# What else would refuse such a row: a unique key that the other tenant's row has already.
OUT_OF_THE_WAY = {
    ("conversations_run", "thread_id"): ", position = position + 100, status = 'succeeded'",
    ("reviews_reviewrequest", "call_id"): ", asking = asking + 100",
}
SAME_TENANT_KEYS = """
SELECT c.conrelid::regclass::text AS child, c.confrelid::regclass::text AS parent, a.attname AS column
  FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[2]
 WHERE c.contype = 'f' AND c.conname LIKE '%%_same_tenant' ORDER BY 1, 3
"""


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """One tenant's rows, for the other one to look for: a decided request, a waiting one, a question of a graph."""

    id: str
    slug: str
    conversation: str
    review: dict[str, Any]
    hold: str  # lifted

    @property
    def pages(self) -> list[str]:
        return [f"/t/{self.slug}/{page}" for page in ("chat/", "queue/", "holds/")] + self.pages_below(self.slug)

    def pages_below(self, slug: str) -> list[str]:
        """The addresses of this tenant's rows, as if they were `slug`'s."""
        return [f"/t/{slug}/chat/{self.conversation}/", f"/t/{slug}/queue/{self.review['id']}/"]


@pytest.fixture(scope="module")
def acme(shared_stack: Stack) -> Tenant:
    return _live_in(shared_stack, "acme")


@pytest.fixture(scope="module")
def globex(shared_stack: Stack) -> Tenant:
    return _live_in(shared_stack, "globex")


@pytest.fixture(scope="module")
def tables(shared_stack: Stack) -> list[dict[str, Any]]:
    found = [each for each in shared_stack.rows(TENANT_TABLES) if each["name"] not in EXEMPT]
    assert len(found) > 10, "the catalogue query finds the tables"
    return found


@pytest.mark.parametrize("email", STRANGERS)
def test_another_tenants_pages_are_not_there(shared_stack: Stack, acme: Tenant, email: str) -> None:
    stranger = shared_stack.person(email)
    for address in acme.pages + acme.pages_below("globex"):
        answer = stranger.get(address)
        expected = 403 if email.startswith("member") and "/t/globex/queue/" in address else 404
        assert answer.status_code == expected, address
        assert acme.review["title"] not in answer.text


@pytest.mark.parametrize("email", STRANGERS)
def test_another_tenants_rows_cannot_be_written_to(shared_stack: Stack, acme: Tenant, email: str) -> None:
    stranger = shared_stack.person(email)
    agent = shared_stack.agent_id("acme", "Support desk")
    sendings: dict[str, dict[str, str]] = {
        "/t/acme/chat/": {"agent": agent, "text": "hello"},
        "/t/globex/chat/": {"agent": agent, "text": "hello"},
        "/t/acme/holds/": {"reason": "hello"},
    }
    for slug in ("acme", "globex"):
        chat, review = f"/t/{slug}/chat/{acme.conversation}/", f"/t/{slug}/queue/{acme.review['id']}/"
        sendings |= {
            chat: {"text": "hello"},
            f"{chat}stop/": {},
            f"{chat}withdraw/{acme.review['id']}/": {},
            f"{chat}retry/{acme.review['run_id']}/": {},
        }
        if not (slug == "globex" and email.startswith("member")):  # who may not see the queue at all is told so
            sendings |= {
                f"{review}undo/": {},
                f"{review}decide/": {"verdict": "approve", "digest": acme.review["digest"]},
            }
    for address, fields in sendings.items():
        assert stranger.submit(address, **fields).status_code == 404, address
    assert stranger.submit(f"/t/globex/holds/{acme.hold}/lift/").status_code in (403, 404)
    assert shared_stack.requests(acme.conversation) == [acme.review]


def test_a_list_shows_nothing_of_another_tenant(shared_stack: Stack, acme: Tenant, globex: Tenant) -> None:
    reviewer = shared_stack.person("reviewer@globex.example")
    queue = reviewer.get("/t/globex/queue/").text
    assert str(globex.review["id"]) in queue
    assert str(acme.review["id"]) not in queue
    chats = shared_stack.person("member@globex.example").get("/t/globex/chat/").text
    assert globex.conversation in chats
    assert acme.conversation not in chats


def test_strangers_to_the_house_are_led_to_sign_in(shared_stack: Stack, acme: Tenant) -> None:
    with httpx.Client(base_url=shared_stack.url) as anybody:
        for address in ["/", *acme.pages, "/t/nobody/queue/"]:
            answer = anybody.get(address)
            assert answer.status_code == 302, address
            assert answer.headers["location"].startswith("/accounts/login/"), address


@pytest.mark.parametrize("role", ROLES)
def test_a_connection_without_a_tenant_sees_no_row(
    shared_stack: Stack, acme: Tenant, globex: Tenant, tables: list[dict[str, Any]], role: str
) -> None:
    with _as_role(shared_stack, role) as connection:
        seen = {table["name"]: _count(connection, table) for table in _readable(connection, tables)}
    assert seen == dict.fromkeys(seen, 0)


@pytest.mark.parametrize("role", ROLES)
def test_a_connection_sees_its_own_tenant_and_no_other(
    shared_stack: Stack, acme: Tenant, globex: Tenant, tables: list[dict[str, Any]], role: str
) -> None:
    with _as_role(shared_stack, role, acme) as connection:
        readable = _readable(connection, tables)
        assert [table["name"] for table in readable if not _count(connection, table)] == []
        foreign = {table["name"]: _count(connection, table, globex) for table in readable}
    assert foreign == dict.fromkeys(foreign, 0)


@pytest.mark.parametrize("role", ROLES)
def test_rows_of_another_tenant_cannot_be_changed(
    shared_stack: Stack, acme: Tenant, globex: Tenant, tables: list[dict[str, Any]], role: str
) -> None:
    with _as_role(shared_stack, role, acme) as connection:
        for table in _readable(connection, tables):
            column = "tenant_id" if table["has_tenant"] else "thread_id"
            for statement in ("UPDATE {} SET {column} = {column} WHERE {theirs}", "DELETE FROM {} WHERE {theirs}"):
                touched = _attempt(connection, table, globex, statement, column=column)
                assert touched == 0, table["name"]


@pytest.mark.parametrize("role", ROLES)
def test_rows_cannot_be_put_into_another_tenant(
    shared_stack: Stack, acme: Tenant, globex: Tenant, tables: list[dict[str, Any]], role: str
) -> None:
    reason = "row-level security" if role == "worker" else "row-level security|permission denied"
    copies = {table["name"]: _a_row_of(shared_stack, table, globex) for table in tables}
    epoch = shared_stack.row("SELECT epoch FROM conversations_lease WHERE thread_id = %s", globex.conversation)["epoch"]
    with _as_role(shared_stack, role, acme) as connection:
        connection.execute("SELECT set_config('app.lease_epoch', %s, false)", [str(epoch)])  # past the fence
        for table in _readable(connection, tables):
            with pytest.raises(InsufficientPrivilege, match=reason), connection.transaction():
                connection.execute(
                    sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_record(NULL::{}, %s)")
                    .format(*[_identifier(table)] * 2),
                    [json.dumps(copies[table["name"]])],
                )  # fmt: skip
            if table["has_tenant"]:
                with pytest.raises(InsufficientPrivilege), connection.transaction():
                    connection.execute(sql.SQL("UPDATE {} SET tenant_id = %s").format(_identifier(table)), [globex.id])


def test_a_row_cannot_point_into_another_tenant(shared_stack: Stack, acme: Tenant, globex: Tenant) -> None:
    keys = shared_stack.rows(SAME_TENANT_KEYS)
    assert len(keys) > 10, "the catalogue query finds the keys"
    with _as_role(shared_stack, "web", acme) as connection:
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for key in keys:
            [theirs] = shared_stack.rows(f"SELECT id FROM {key['parent']} WHERE tenant_id = %s LIMIT 1", globex.id)
            change = f"{key['column']} = %s" + OUT_OF_THE_WAY.get((key["child"], key["column"]), "")
            with pytest.raises(ForeignKeyViolation), connection.transaction():
                connection.execute(
                    f"UPDATE {key['child']} SET {change} WHERE id = (SELECT id FROM {key['child']} LIMIT 1)",
                    [theirs["id"]],
                )


def test_web_reads_checkpoints_and_audit_but_never_writes_them(shared_stack: Stack, acme: Tenant) -> None:
    forbidden = [
        *(
            statement.format(table=f"langgraph.{table}")
            for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
            for statement in (
                "INSERT INTO {table} SELECT * FROM {table}",
                "UPDATE {table} SET thread_id = thread_id",
                "DELETE FROM {table}",
            )
        ),
        "UPDATE audit_auditevent SET action = 'nothing'",
        "DELETE FROM audit_auditevent",
        "TRUNCATE audit_auditevent",
    ]
    with _as_role(shared_stack, "web", acme) as connection:
        assert connection.execute("SELECT 1 FROM langgraph.checkpoints").fetchall()
        for statement in forbidden:
            with pytest.raises(InsufficientPrivilege, match="permission denied"), connection.transaction():
                connection.execute(statement)


def _live_in(stack: Stack, slug: str) -> Tenant:
    """Have rows in every table of this tenant."""
    member, reviewer = stack.person(f"member@{slug}.example"), stack.person(f"reviewer@{slug}.example")
    answered = member.start("email someone@example.com about the delay", tenant=slug)
    stack.until(answered, "waiting")
    [review] = stack.requests(answered)
    assert decide(reviewer, review, "approve", tenant=slug).status_code == 302
    stack.until(answered, "succeeded")
    conversation = member.start(f"refund 2 on order 1061 because {slug} said so", tenant=slug)
    stack.until(conversation, "waiting")
    [review] = stack.requests(conversation)
    [hold] = _lifted_hold(stack, review)
    return Tenant(
        id=str(review["tenant_id"]), slug=slug, conversation=conversation, review=review, hold=str(hold["id"])
    )


def _lifted_hold(stack: Stack, review: dict[str, Any]) -> list[dict[str, Any]]:
    """A hold of the past. Written past the pages: Globex has no admin."""
    return stack.rows(
        """INSERT INTO conversations_hold (id, tenant_id, agent_id, tool_name, reason, placed_by_id, placed_at, lifted_at)
           SELECT gen_random_uuid(), c.tenant_id, c.agent_id, '', 'a test', c.user_id, now(), now()
             FROM conversations_conversation c WHERE c.id = %s RETURNING id""",
        review["conversation_id"],
    )


@contextmanager
def _as_role(stack: Stack, role: str, tenant: Tenant | None = None) -> Iterator[Connection]:
    """A connection of a runtime role; whatever it writes is rolled back."""
    with psycopg.connect(stack.environment[ROLES[role]], row_factory=dict_row) as connection:
        if tenant is not None:
            connection.execute("SELECT set_config('app.tenant_id', %s, false)", [tenant.id])
        yield connection
        connection.rollback()


def _readable(connection: Connection, tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the schemas this role may enter: pages have no business in the shop."""
    found = connection.execute("SELECT nspname FROM pg_namespace WHERE has_schema_privilege(oid, 'USAGE')")
    open_to_us = {row["nspname"] for row in found}
    assert {"public", "langgraph"} <= open_to_us
    return [table for table in tables if table["schema"] in open_to_us]


def _identifier(table: dict[str, Any]) -> sql.Composable:
    return sql.SQL(table["name"])


def _of(table: dict[str, Any], tenant: Tenant) -> sql.Composable:
    if table["has_tenant"]:
        return sql.SQL("tenant_id = {}").format(tenant.id)
    return sql.SQL("thread_id = {}").format(tenant.conversation)


def _count(connection: Connection, table: dict[str, Any], of: Tenant | None = None) -> int:
    where = _of(table, of) if of else sql.SQL("true")
    row = connection.execute(sql.SQL("SELECT count(*) FROM {} WHERE {}").format(_identifier(table), where)).fetchone()
    assert row
    return int(row["count"])


def _attempt(connection: Connection, table: dict[str, Any], theirs: Tenant, statement: str, *, column: str) -> int:
    """How many rows it touched; none where it may not even be said."""
    composed = sql.SQL(statement).format(_identifier(table), column=sql.Identifier(column), theirs=_of(table, theirs))
    try:
        with connection.transaction():
            return connection.execute(composed).rowcount
    except InsufficientPrivilege:
        return 0


def _a_row_of(stack: Stack, table: dict[str, Any], tenant: Tenant) -> dict[str, Any]:
    where = f"tenant_id = '{tenant.id}'" if table["has_tenant"] else f"thread_id = '{tenant.conversation}'"
    found = stack.rows(f"SELECT to_jsonb(t) AS row FROM {table['name']} t WHERE {where} LIMIT 1")
    assert found, f"no row of {table['name']} to try with"
    return dict(found[0]["row"])
