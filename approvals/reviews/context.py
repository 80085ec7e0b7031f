from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from approvals.reviews.access import standing_holds


def holds(request: HttpRequest) -> dict[str, Any]:
    """The banner that every page of a tenant carries while something is on hold."""
    if getattr(request, "membership", None) is None:
        return {}
    return {"standing_holds": standing_holds()}
