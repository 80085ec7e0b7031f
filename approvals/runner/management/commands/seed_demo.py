"""Make the demo: two tenants, people to sign in as, two agents and a shop. Run as the owner of the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError, connection
from psycopg import sql

from agents.graphs.introductions import INTRODUCTIONS
from agents.tools import shop_seed
from approvals.conversations.models import Agent
from approvals.db.tenant_scope import acting_for
from approvals.tenants.models import Membership, Tenant, User

PASSWORD = "gatehouse-demo"  # noqa: S105 - everybody knows it; the command refuses to run without DEBUG
OPERATOR = ("operator@gatehouse.example", "Oskar Operator")
Role = Membership.Role
# slug, name, and the people in it: mailbox, name, role
TENANTS = (
    (
        "acme",
        "Acme Outfitters",
        (
            ("member", "Maya Member", Role.MEMBER),
            ("reviewer", "Rosa Reviewer", Role.REVIEWER),
            ("reviewer2", "Ravi Reviewer", Role.REVIEWER),
            ("admin", "Alan Admin", Role.ADMIN),
            ("auditor", "Aiko Auditor", Role.AUDITOR),
        ),
    ),
    (
        "globex",
        "Globex Supplies",
        (
            ("member", "Milan Member", Role.MEMBER),
            ("reviewer", "Renata Reviewer", Role.REVIEWER),
        ),
    ),
)
SHOP = Path(shop_seed.__file__).with_name("shop.sql")
GRANTS = (
    "GRANT USAGE ON SCHEMA shop TO {role}",
    "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA shop TO {role}",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA shop TO {role}",
)


class Command(BaseCommand):
    help = "Make the demo's tenants, people, agents and shop. Safe to repeat; what people did since is kept."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError(
                "seed_demo makes accounts with a password that everybody knows, so it only runs with DEBUG on."
            )
        _prepare_shop()
        if not User.objects.filter(email=OPERATOR[0]).exists():
            User.objects.create_superuser(OPERATOR[0], PASSWORD, name=OPERATOR[1])
        for slug, name, people in TENANTS:
            _seed_tenant(slug, name, people)
        emails = [OPERATOR[0], *(_email(slug, person[0]) for slug, _, people in TENANTS for person in people)]
        self.stdout.write(f"Demo accounts, password {PASSWORD}: {', '.join(emails)}")


def _prepare_shop() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(SHOP.read_text())
            cursor.execute("SELECT current_user")
            (owner,) = cursor.fetchone()
            role = settings.DATABASE_ROLES["worker"]
            for grant in GRANTS if role and role != owner else ():
                cursor.execute(sql.SQL(grant).format(role=sql.Identifier(role)))
    except ProgrammingError as error:
        raise CommandError(
            f"The demo shop's tables could not be made: {str(error).strip()} "
            "Run seed_demo as the owner of the database, with GATEHOUSE_PROCESS=owner."
        ) from error


def _seed_tenant(slug: str, name: str, people: tuple[tuple[str, str, Membership.Role], ...]) -> None:
    # No undo window: in the demo a decision should be seen to act at once.
    tenant, _ = Tenant.objects.get_or_create(slug=slug, defaults={"name": name, "undo_seconds": 0})
    for mailbox, display_name, role in people:
        _seed_person(tenant, _email(slug, mailbox), display_name, role)
    with acting_for(tenant.id):
        for agent in INTRODUCTIONS:
            configured = {"graph_id": agent.graph_id, "description": agent.description, "starters": agent.starters}
            Agent.objects.get_or_create(tenant=tenant, name=agent.name, defaults=configured)
        # Inside the scope, after a statement: the connection holds this tenant already, and its wrapper knows it.
        shop_seed.plant(connection.connection, tenant.id)


def _seed_person(tenant: Tenant, email: str, name: str, role: Membership.Role) -> None:
    user = User.objects.filter(email=email).first() or User.objects.create_user(email, PASSWORD, name=name)
    Membership.objects.get_or_create(tenant=tenant, user=user, defaults={"role": role})


def _email(slug: str, mailbox: str) -> str:
    return f"{mailbox}@{slug}.example"
