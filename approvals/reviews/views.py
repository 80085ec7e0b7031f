"""The review queue, a request, and the answer to it. Three beats each: fetch with permission, change, answer."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from agents.canonical import storable
from approvals.calls.digests import call_digest
from approvals.calls.models import tool_of
from approvals.calls.titles import approve_label, manifest_from_json
from approvals.reviews import paging, presentation
from approvals.reviews.access import closed_requests, hold_for, may_hold, open_requests, request_for, standing_holds
from approvals.reviews.actions import (
    Answer,
    Invalid,
    Stale,
    TooLate,
    checked_arguments,
    decide,
    lift_hold,
    place_hold,
    undo,
)
from approvals.reviews.exact import differences
from approvals.reviews.forms import HoldForm
from approvals.reviews.models import RequestStatus, ReviewRequest, Verdict
from approvals.reviews.pauses import answer_form, answer_of, state_edit_of, state_form
from approvals.reviews.schema_forms import SchemaForm, bind
from approvals.tenants.access import MANAGES, TenantRequest, in_tenant

Context = dict[str, Any]


@require_GET
@in_tenant
def queue(request: TenantRequest) -> HttpResponse:
    return render(request, "reviews/queue.html", _queue(request))


@require_GET
@in_tenant
def detail(request: TenantRequest, review: UUID) -> HttpResponse:
    found = request_for(request.membership, review)
    return _page(request, found, presentation.detail(found, request.membership))


@require_POST
@in_tenant
def decide_request(request: TenantRequest, review: UUID) -> HttpResponse:
    """One of the four verdicts, or a preview of an edit. Nothing is trusted but the request's own bytes."""
    found = request_for(request.membership, review, to_decide=True)
    shown: Context = {}  # what the form adds to the page; the page itself is made only where one is answered with
    if found.status != RequestStatus.PENDING:
        return _too_late(request, found)
    try:
        if "preview" in request.POST:
            return _preview(request, found, shown)
        answer = _answer(request, found, shown)
        if answer is None:
            return _form_page(request, found, shown, status=422)
        decide(review=found, reviewer=request.user, answer=answer)
    except Invalid as invalid:
        shown = {**presentation.detail(found, request.membership), **shown}
        _show_error(request, shown, invalid)
        return _page(request, found, shown, status=422)
    except Stale:
        shown["conflict"] = {
            "title": "This is not what you saw",
            "text": "The request, or your edit, changed after the page was made. Nothing was decided.",
        }
        return _form_page(request, found, shown, status=409)
    except TooLate as late:
        return _too_late(request, late.review)
    return redirect("reviews:detail", tenant=request.tenant.slug, review=found.pk)


@require_POST
@in_tenant
def undo_decision(request: TenantRequest, review: UUID) -> HttpResponse:
    """Take one's own decision back while nothing was sent yet; too late is said, not hidden."""
    found = request_for(request.membership, review)
    try:
        undo(review=found, by=request.user)
    except TooLate:
        shown = presentation.detail(found, request.membership)
        shown["conflict"] = {"title": "Too late to undo", "text": "The decision has taken effect already."}
        return _page(request, found, shown, status=409)
    return redirect("reviews:detail", tenant=request.tenant.slug, review=found.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@in_tenant
def holds(request: TenantRequest) -> HttpResponse:
    """What is on hold, and for admins the form that puts something on hold."""
    form = HoldForm(request.POST or None)
    if request.method == "POST":
        may_hold(request.membership)
        if form.is_valid():
            place_hold(tenant=request.tenant, by=request.user, **form.cleaned_data)
            return redirect("reviews:holds", tenant=request.tenant.slug)
    shown = {"holds": standing_holds(), "form": form, "may_hold": request.membership.role in MANAGES}
    return render(request, "reviews/holds.html", shown, status=422 if form.errors else 200)


@require_POST
@in_tenant
def lift(request: TenantRequest, hold: UUID) -> HttpResponse:
    lift_hold(hold=hold_for(request.membership, hold), by=request.user)
    return redirect("reviews:holds", tenant=request.tenant.slug)


def _answer(request: TenantRequest, review: ReviewRequest, shown: Context) -> Answer | None:
    """What the form says; None where it cannot be read, with the reason in `shown`."""
    sent = request.POST
    verdict, digest = sent.get("verdict", ""), sent.get("digest", "")
    if verdict not in Verdict.values:
        raise Invalid("verdict", "Choose to approve, edit, reject or respond.")
    if review.kind == ReviewRequest.Kind.PAUSE:
        return _pause_answer(request, review, shown)
    if verdict == Verdict.EDIT:
        form = _edit_form(request, review, shown)
        if form.errors:
            return None
        edited = checked_arguments(review, form.values)
        if digest != _edited_digest(review, edited):
            raise Stale
        return Answer(verdict=Verdict.EDIT, digest=review.digest, arguments=form.values)
    feedback = storable(sent.get("feedback", ""))
    return Answer(verdict=Verdict(verdict), digest=digest, feedback=feedback)


def _pause_answer(request: TenantRequest, review: ReviewRequest, shown: Context) -> Answer | None:
    answer, state = answer_form(review, request.POST.dict()), state_form(review, request.POST.dict())
    shown |= {"answer_form": answer, "state_form": state}
    if answer.errors or (state and state.errors):
        return None
    return Answer(
        verdict=Verdict(request.POST["verdict"]),
        digest=request.POST.get("digest", ""),
        answer=answer_of(answer),
        state_edit=state_edit_of(state, review),
    )


def _preview(request: TenantRequest, review: ReviewRequest, shown: Context) -> HttpResponse:
    """What the edit would run, and the digest that approving it binds to. Decides nothing."""
    form = _edit_form(request, review, shown)
    if form.errors:
        return _form_page(request, review, shown, status=422)
    edited = checked_arguments(review, form.values)
    assert review.call is not None
    tool = tool_of(review.call)
    manifest = manifest_from_json(tool.manifest) if tool else None
    changed, _ = differences(review.call.arguments, edited)
    if not changed:
        raise Invalid("arguments", "Nothing was changed. To let the call run as it is, approve it.")
    shown["preview"] = {
        "diff": changed,
        "digest": _edited_digest(review, edited),
        "approve_label": approve_label(review.tool_name, manifest, json.loads(edited)),
    }
    return _form_page(request, review, shown)


def _edit_form(request: TenantRequest, review: ReviewRequest, shown: Context) -> SchemaForm:
    if review.kind != ReviewRequest.Kind.CALL or review.call is None:
        raise Invalid("verdict", "This request has no arguments to edit.")
    tool = tool_of(review.call)
    form = bind(tool.schema if tool else {}, json.loads(review.call.arguments), request.POST.dict())
    shown |= {"edit_form": form, "open_panel": "edit"}
    return form


def _edited_digest(review: ReviewRequest, edited: str) -> str:
    call = review.call
    assert call is not None
    return call_digest(
        tenant_id=call.tenant_id,
        run_id=call.run_id,
        message_id=call.graph_message_id,
        call_id=call.call_id,
        tool=call.tool_name,
        arguments=edited,
    )


def _show_error(request: TenantRequest, shown: Context, invalid: Invalid) -> None:
    """Put the reason where the person looks, with what was typed still there."""
    typed, why = storable(request.POST.get("feedback", "")), str(invalid)
    if invalid.field == "feedback":
        verdict = request.POST.get("verdict")
        form = presentation.reject_form if verdict == Verdict.REJECT else presentation.respond_form
        shown |= {f"{verdict}_form": form(typed, why), "open_panel": verdict}
        return
    form_name = {"answer": "answer_form", "state": "state_form"}.get(invalid.field, "edit_form")
    if isinstance(shown.get(form_name), SchemaForm):
        shown[form_name].refuse(why)
    else:
        shown["conflict"] = {"title": "Not sent", "text": why}


def _too_late(request: TenantRequest, review: ReviewRequest) -> HttpResponse:
    """Somebody was quicker: 409 with who, what and when. The same person's second click is simply shown the result."""
    decision = presentation.decision_of(review)
    if decision and decision.reviewer_id == request.user.pk and decision.verdict == request.POST.get("verdict"):
        return redirect("reviews:detail", tenant=request.tenant.slug, review=review.pk)
    shown = {**presentation.detail(review, request.membership), "conflict": presentation.conflict_of(review)}
    return _page(request, review, shown, status=409)


def _form_page(request: TenantRequest, review: ReviewRequest, shown: Context, *, status: int = 200) -> HttpResponse:
    """The detail page with what the form changed in it."""
    return _page(request, review, {**presentation.detail(review, request.membership), **shown}, status=status)


def _page(request: TenantRequest, review: ReviewRequest, shown: Context, *, status: int = 200) -> HttpResponse:
    return render(request, "reviews/detail.html", {**_queue(request), **shown}, status=status)


def _queue(request: TenantRequest) -> Context:
    """The left pane: one page of a tab, and how many each tab holds."""
    member, tab = request.membership, request.GET.get("status", "open")
    opened, closed = open_requests(member), closed_requests(member)
    page = (
        paging.decided(closed, request.GET.get("cursor"))
        if tab == "decided"
        else paging.by_due_time(opened, request.GET.get("cursor"))
    )
    counts = {"open": paging.counted(opened), "decided": paging.counted(closed)}
    return {
        "requests": presentation.queue_items(page.rows),
        "status": "decided" if tab == "decided" else "open",
        "counts": counts,
        "open_count": counts["open"],
        "next_cursor": page.next_cursor,
        "live_url": reverse("reviews:queue", kwargs={"tenant": request.tenant.slug}).replace("/t/", "/ws/t/", 1),
    }
