"""Keyset pages: a cursor names the last row seen, so page 1,000 costs what page 1 costs and nothing is skipped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from approvals.reviews.models import ReviewRequest

PAGE = 50
COUNT_TO = 1000  # counting on would cost more than the number is worth


@dataclass(frozen=True, kw_only=True)
class Page:
    rows: list[ReviewRequest]
    next_cursor: str | None


def by_due_time(requests: QuerySet[ReviewRequest], cursor: str | None) -> Page:
    seen = _read(cursor)
    if seen:
        at, pk = seen
        requests = requests.filter(Q(decide_by__gt=at) | Q(decide_by=at, pk__gt=pk))
    return _page(list(requests[: PAGE + 1]), "decide_by")


def decided(requests: QuerySet[ReviewRequest], cursor: str | None) -> Page:
    seen = _read(cursor)
    if seen:
        at, pk = seen
        requests = requests.filter(Q(closed_at__lt=at) | Q(closed_at=at, pk__gt=pk))
    return _page(list(requests[: PAGE + 1]), "closed_at")


def counted(requests: QuerySet[ReviewRequest]) -> str:
    number = requests.order_by()[: COUNT_TO + 1].count()
    return f"{COUNT_TO}+" if number > COUNT_TO else str(number)


def _page(rows: list[ReviewRequest], by: str) -> Page:
    last = rows[PAGE - 1] if len(rows) > PAGE else None
    return Page(rows=rows[:PAGE], next_cursor=f"{getattr(last, by).isoformat()}_{last.pk}" if last else None)


def _read(cursor: str | None) -> tuple[datetime, UUID] | None:
    """A cursor of ours; anything else is the first page."""
    at, _, pk = (cursor or "").partition("_")
    try:
        return datetime.fromisoformat(at).astimezone(UTC), UUID(pk)  # PostgreSQL refuses offsets beyond 16 hours
    except (ValueError, OverflowError):
        return None
