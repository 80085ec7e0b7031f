from __future__ import annotations

from typing import cast

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from approvals.tenants.access import READS_QUEUE, memberships
from approvals.tenants.models import User


@require_GET
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Lead each person to where they work."""
    user = cast("User", request.user)
    first = next(iter(memberships(user)), None)
    if first is None:
        return redirect("admin:index") if user.is_staff else render(request, "tenants/no_tenant.html")
    page = "reviews:queue" if first.role in READS_QUEUE else "chat:list"
    return redirect(page, tenant=first.tenant.slug)


@require_POST
@login_required
def theme(request: HttpRequest) -> HttpResponse:
    """Keep the person's choice of light or dark, and go back to the page it was made on."""
    user = cast("User", request.user)
    wanted = request.POST.get("theme", "")
    if wanted in User.Theme.values:
        User.objects.filter(pk=user.pk).update(theme=wanted)
    back = request.POST.get("next") or request.headers.get("referer") or "/"
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        back = "/"
    return redirect(back)
