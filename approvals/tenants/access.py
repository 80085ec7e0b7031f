"""Who may do what: the one place that says so. Fetch and authorise in one call; another tenant's row does not exist."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.middleware import HtmxDetails

from approvals.db.tenant_scope import acting_for
from approvals.tenants.models import Membership, Tenant, User

P = ParamSpec("P")
Role = Membership.Role

DECIDES = frozenset({Role.REVIEWER, Role.ADMIN})
READS_QUEUE = frozenset({Role.REVIEWER, Role.ADMIN, Role.AUDITOR})
READS_EVERY_CONVERSATION = frozenset({Role.ADMIN, Role.AUDITOR})
MANAGES = frozenset({Role.ADMIN})
CHATS = frozenset({Role.MEMBER, Role.REVIEWER, Role.ADMIN})


class NotAllowed(Exception):
    """You may not do this here."""

    def __init__(self, why: str = "") -> None:
        super().__init__(why or self.__class__.__doc__)


def membership_of(user: User, slug: str) -> Membership:
    """The person's membership in the tenant of this address; 404 for strangers, so that slugs cannot be probed."""
    try:
        return Membership.objects.select_related("tenant", "user").get(
            tenant__slug=slug, user_id=user.pk, user__is_active=True
        )
    except Membership.DoesNotExist:
        raise Http404("No such page.") from None


def membership_in(user_id: UUID, tenant_id: UUID) -> Membership | None:
    """The same by ids, asked again whenever a socket or a job acts for a person."""
    return (
        Membership.objects.select_related("tenant", "user")
        .filter(tenant_id=tenant_id, user_id=user_id, user__is_active=True)
        .first()
    )


def memberships(user: User) -> list[Membership]:
    return list(Membership.objects.filter(user=user).select_related("tenant").order_by("tenant__name"))


def tenant_of(slug: str) -> Tenant | None:
    return Tenant.objects.filter(slug=slug).first()


class TenantRequest(HttpRequest):
    """A request of a signed-in member below /t/<tenant>/."""

    user: User
    membership: Membership
    tenant: Tenant
    htmx: HtmxDetails


def in_tenant(view: Callable[Concatenate[TenantRequest, P], HttpResponse]) -> Callable[..., HttpResponse]:
    """A page below /t/<tenant>/: signed in, a member, and acting for this tenant while it is made.

    Refusals become pages here, once: NotAllowed is 403; what another tenant owns does not exist, 404.
    """

    @login_required
    @wraps(view)
    def page(request: HttpRequest, tenant: str, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        here = cast("TenantRequest", request)
        here.membership = membership_of(here.user, tenant)
        here.tenant = here.membership.tenant
        with acting_for(here.tenant.pk):
            try:
                return view(here, *args, **kwargs)
            except NotAllowed as refused:
                return render(request, "403.html", {"why": str(refused)}, status=403)

    return page
