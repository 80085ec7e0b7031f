from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from approvals.tenants.access import memberships


def frame(request: HttpRequest) -> dict[str, Any]:
    """What the frame of every page shows: where the person is, and where else he may go. Error pages have none of it."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {"membership": None, "memberships": [], "open_count": None}
    return {"membership": getattr(request, "membership", None), "memberships": memberships(user)}
