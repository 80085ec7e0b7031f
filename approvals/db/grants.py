"""What the runtime roles may do, issued by the owner after every migration: idempotent, and the same in every database.

The owner has the tables; web and worker have rows. Exceptions to "all rows of all tables" are listed in one place, and a
catalogue test compares them with what the database says.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import connections
from psycopg import sql

APPEND_ONLY = ("audit_auditevent",)
WRITTEN_BY_MIGRATIONS_ONLY = ("django_migrations",)


def grant_runtime_roles(*, using: str, **_: Any) -> None:
    """Receiver of `post_migrate`. Does nothing where the migrating role is itself a runtime role."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT current_user")
        (owner,) = cursor.fetchone()
        for process, role in settings.DATABASE_ROLES.items():
            if role and role != owner:
                for statement in _statements(process):
                    cursor.execute(sql.SQL(statement).format(role=sql.Identifier(role)))


def _statements(process: str) -> list[str]:
    schema = settings.CHECKPOINT_SCHEMA
    checkpoints = "SELECT, INSERT, UPDATE, DELETE" if process == "worker" else "SELECT"
    return [
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role}",
        *(f"REVOKE UPDATE, DELETE ON {table} FROM {{role}}" for table in APPEND_ONLY),
        "GRANT UPDATE (sequence, hash) ON audit_auditevent TO {role}",  # by audit_link alone: a trigger refuses the rest
        *(f"REVOKE INSERT, UPDATE, DELETE ON {table} FROM {{role}}" for table in WRITTEN_BY_MIGRATIONS_ONLY),
        f"GRANT USAGE ON SCHEMA {schema} TO {{role}}",
        f"GRANT {checkpoints} ON ALL TABLES IN SCHEMA {schema} TO {{role}}",
    ]
