"""What the database itself says of its tables, functions and roles: a new table without a policy fails here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.db.exempt import EXEMPT
from tests.stack import Stack

DEFINERS = {"public.abandoned_threads", "public.overdue_requests"}  # SECURITY DEFINER: they return ids only
RUNTIME_ROLES = ("gatehouse_web", "gatehouse_worker")
TABLES = """
SELECT n.nspname || '.' || c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced,
       ARRAY(SELECT format('%%s using %%s check %%s', p.polcmd, pg_get_expr(p.polqual, c.oid),
                           pg_get_expr(p.polwithcheck, c.oid)) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('public', 'langgraph')
"""
FUNCTIONS = """
SELECT n.nspname || '.' || p.proname AS name, r.rolname AS owner, p.proconfig AS settings,
       ARRAY(SELECT t::regtype::text FROM unnest(p.proallargtypes, p.proargmodes) AS a (t, mode)
              WHERE mode = 't') AS returned
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles r ON r.oid = p.proowner
 WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""
ROLE = """
SELECT r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolcreatedb, r.rolreplication,
       has_schema_privilege(r.oid, 'public', 'CREATE') AS makes_tables,
       has_schema_privilege(r.oid, 'langgraph', 'CREATE') AS makes_checkpoint_tables,
       EXISTS (SELECT 1 FROM pg_auth_members m WHERE m.member = r.oid) AS is_member_of_another,
       EXISTS (SELECT 1 FROM pg_shdepend d WHERE d.refobjid = r.oid AND d.deptype = 'o') AS owns_something
  FROM pg_roles r WHERE r.rolname = %s
"""
CHAIN = """
SELECT e.sequence, e.hash,
       audit_mark(COALESCE(lag(e.hash) OVER (ORDER BY e.sequence), ''), e) AS recomputed
  FROM audit_auditevent e WHERE e.tenant_id = %s ORDER BY e.sequence
"""


def test_every_table_is_isolated_or_exempt_for_a_reason(shared_stack: Stack) -> None:
    tables = shared_stack.rows(TABLES)
    isolated = {each["name"] for each in tables if each["forced"] and each["policies"]}
    names = {each["name"] for each in tables}
    assert names - isolated - EXEMPT.keys() == set(), "isolate() it, or write the reason down in tests/db/exempt.py"
    assert EXEMPT.keys() & isolated == set(), "isolated now: take it off the list"
    assert EXEMPT.keys() - names == set(), "gone: take it off the list"
    assert len(isolated) > 10


def test_every_policy_binds_all_commands_to_the_tenant_that_is_set(shared_stack: Stack) -> None:
    for table in shared_stack.rows(TABLES):
        if table["name"] not in EXEMPT:
            [policy] = table["policies"]  # a second one would widen the first
            assert policy.startswith("* using "), table
            using, check = policy.removeprefix("* using ").split(" check ")
            assert using == check, table
            assert "NULLIF(current_setting('app.tenant_id'::text, true), ''::text)" in using, table


def test_no_view_looks_past_the_policies(shared_stack: Stack) -> None:
    views = shared_stack.rows(
        """SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('v', 'm') AND n.nspname IN ('public', 'langgraph')"""
    )
    assert views == []


def test_functions_that_see_across_tenants_are_listed_pinned_and_return_ids_only(shared_stack: Stack) -> None:
    functions = shared_stack.rows(FUNCTIONS)
    assert {each["name"] for each in functions} == DEFINERS
    for function in functions:
        assert function["owner"] == "gatehouse_sweeper"
        assert function["settings"] == ["search_path=pg_catalog, public"]
        assert set(function["returned"]) == {"uuid"}
    [sweeper] = shared_stack.rows("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'gatehouse_sweeper'")
    assert not sweeper["rolcanlogin"]


@pytest.mark.parametrize("role", RUNTIME_ROLES)
def test_runtime_roles_own_nothing_and_are_bound(shared_stack: Stack, role: str) -> None:
    rights = shared_stack.row(ROLE, role)
    assert {name for name, has in rights.items() if has} == set()


def test_the_audit_chain_can_be_recomputed_and_a_change_shows(shared_stack: Stack) -> None:
    with _as_owner(shared_stack) as (owner, tenant):
        for action in ("test.first", "test.second", "test.third"):
            owner.execute(
                "SELECT audit_append(%s, 'system', NULL, %s, %s, %s)", [tenant, action, uuid4(), '{"name": "Zoë"}']
            )
        owner.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what a commit does
        chain = owner.execute(CHAIN, [tenant]).fetchall()
        assert len(chain) >= 3
        assert [each["sequence"] for each in chain] == list(range(1, len(chain) + 1))
        assert [each["hash"] for each in chain] == [each["recomputed"] for each in chain]
        head = _one(owner, "SELECT sequence, hash FROM audit_audithead WHERE tenant_id = %s", [tenant])
        assert (head["sequence"], head["hash"]) == (len(chain), chain[-1]["hash"])
        for column, other in {"actor": "'person'", "action": "'test.other'", "facts": "'{}'", "at": "now()"}.items():
            changed = f"jsonb_populate_record(e, jsonb_build_object('{column}', {other}))"
            query = f"SELECT audit_mark(%s, {changed}) AS mark FROM audit_auditevent e WHERE action = 'test.third'"
            assert _one(owner, query, [chain[-2]["hash"]])["mark"] != chain[-1]["hash"], column


@pytest.mark.parametrize("change", ["UPDATE audit_auditevent SET action = 'nothing'", "DELETE FROM audit_auditevent"])
def test_an_audit_entry_is_changed_by_nobody(shared_stack: Stack, change: str) -> None:
    with _as_owner(shared_stack) as (owner, tenant):
        owner.execute("SELECT audit_append(%s, 'system', NULL, 'test', %s, '{}')", [tenant, uuid4()])
        with pytest.raises(psycopg.Error, match="never changed or removed") as refused:
            owner.execute(change)
        assert refused.value.sqlstate == "GH002"


@contextmanager
def _as_owner(stack: Stack) -> Iterator[tuple[psycopg.Connection[dict[str, Any]], str]]:
    """The owner of the tables, acting for Acme; what it does is rolled back."""
    tenant = str(stack.row("SELECT id FROM tenants_tenant WHERE slug = 'acme'")["id"])
    with psycopg.connect(stack.environment["DATABASE_OWNER_URL"], row_factory=dict_row) as owner:
        owner.execute("SELECT set_config('app.tenant_id', %s, false)", [tenant])
        yield owner, tenant
        owner.rollback()


def _one(connection: psycopg.Connection[dict[str, Any]], query: str, values: list[Any]) -> dict[str, Any]:
    [row] = connection.execute(query, values).fetchall()
    return row
