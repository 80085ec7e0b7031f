"""Which commits need not wait for the disk.

What a person was told, what lets an effect happen and what it came to are flushed before anybody hears of it. A step that
a worker would simply take again is not: it commits in order all the same, and the next flush takes it along. A tenant's
commits queue for the audit chain's head, so each flush saved is one that everybody behind it does not wait for.
"""

from __future__ import annotations

from django.db import connection

REPEATABLE = "SET LOCAL synchronous_commit = off"


def commit_is_repeatable() -> None:
    """Let this transaction commit without waiting: should the server crash now, the worker takes the same step again."""
    with connection.cursor() as cursor:
        cursor.execute(REPEATABLE)
