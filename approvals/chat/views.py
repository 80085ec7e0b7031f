"""Chat: the list of conversations, one conversation, and what a person sends."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from approvals.chat import presentation
from approvals.conversations.access import agent_for, agents_for, conversation_for, conversations_of
from approvals.conversations.actions import retry_run, send_message, start_conversation
from approvals.conversations.forms import MessageForm
from approvals.conversations.models import UNFINISHED, Conversation, Run
from approvals.reviews.actions import Invalid, TooLate, stop_run, withdraw
from approvals.reviews.models import ReviewRequest
from approvals.tenants.access import MANAGES, NotAllowed, TenantRequest, in_tenant

Context = dict[str, Any]
SHOWN = 60  # conversations in the list


@require_http_methods(["GET", "HEAD", "POST"])
@in_tenant
def conversations(request: TenantRequest) -> HttpResponse:
    if request.method != "POST":
        return render(request, "chat/list.html", _list(request))
    agent = agent_for(request.membership, _uuid(request.POST.get("agent", "")))
    form = MessageForm({"message": request.POST.get("text", "")})
    if not form.is_valid():
        refused = {"text": request.POST.get("text", ""), "agent": agent.pk, "error": _error(form)}
        return render(request, "chat/list.html", {**_list(request), "start_form": refused}, status=422)
    begun = start_conversation(agent=agent, user=request.user, text=form.cleaned_data["message"])
    return redirect("chat:conversation", tenant=request.tenant.slug, conversation=begun.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@in_tenant
def conversation(request: TenantRequest, conversation: UUID) -> HttpResponse:
    writing = request.method == "POST"
    found = conversation_for(request.membership, conversation, to_write=writing)
    if not writing:
        return render(request, "chat/conversation.html", _conversation(request, found))
    form = MessageForm({"message": request.POST.get("text", "")})
    if not form.is_valid():
        refused = {"send_error": _error(form), "draft": request.POST.get("text", "")}
        return render(request, "chat/conversation.html", {**_conversation(request, found), **refused}, status=422)
    send_message(conversation=found, user=request.user, text=form.cleaned_data["message"])
    return redirect("chat:conversation", tenant=request.tenant.slug, conversation=found.pk)


@require_POST
@in_tenant
def withdraw_request(request: TenantRequest, conversation: UUID, review: UUID) -> HttpResponse:
    """The person who asked takes a waiting request back. Where somebody decided first, the page shows that."""
    found = conversation_for(request.membership, conversation, to_write=True)
    asked = get_object_or_404(ReviewRequest, pk=review, conversation=found)
    with suppress(TooLate, Invalid):
        withdraw(review=asked, by=request.user)
    return redirect("chat:conversation", tenant=request.tenant.slug, conversation=found.pk)


@require_POST
@in_tenant
def stop(request: TenantRequest, conversation: UUID) -> HttpResponse:
    """Stop what works or waits in this conversation, messages queued behind it included."""
    found = conversation_for(request.membership, conversation, to_write=True)
    unfinished = Run.objects.filter(thread_id=found.current_thread_id, status__in=UNFINISHED)
    for run in unfinished.order_by("-position"):
        stop_run(run=run, by=request.user)
    return redirect("chat:conversation", tenant=request.tenant.slug, conversation=found.pk)


@require_POST
@in_tenant
def retry(request: TenantRequest, conversation: UUID, run: UUID) -> HttpResponse:
    """Drive a failed or stuck run once more: the person whose it is, or an admin of the tenant."""
    found = conversation_for(request.membership, conversation)
    if found.user_id != request.user.pk and request.membership.role not in MANAGES:
        raise NotAllowed("Only its owner or an admin can try this run again.")
    retry_run(run=get_object_or_404(Run, pk=run, conversation=found), by=request.user)
    return redirect("chat:conversation", tenant=request.tenant.slug, conversation=found.pk)


def _list(request: TenantRequest) -> Context:
    mine = list(conversations_of(request.membership)[:SHOWN])
    newest = _newest_runs(mine)
    return {
        "conversations": [presentation.conversation_item(each, newest.get(each.current_thread_id)) for each in mine],
        "agents": agents_for(request.membership),
    }


def _conversation(request: TenantRequest, found: Conversation) -> Context:
    turns = presentation.turns_of(found, request.membership)
    newest = _newest_runs([found]).get(found.current_thread_id)
    mine = found.user_id == request.user.pk
    address = reverse("chat:conversation", kwargs={"tenant": request.tenant.slug, "conversation": found.pk})
    return {
        **_list(request),
        "conversation": presentation.conversation_item(found, newest),
        "turns": turns,
        "hold": presentation.hold_of(turns),
        "may_send": mine,
        "stop_url": f"{address}stop/" if mine and newest and newest.is_unfinished else "",
        "live_url": address.replace("/t/", "/ws/t/", 1),
    }


def _newest_runs(conversations: list[Conversation]) -> dict[UUID, Run]:
    """The last run of each conversation's current branch."""
    threads = [each.current_thread_id for each in conversations]
    runs = Run.objects.filter(thread_id__in=threads).order_by("thread_id", "-position").distinct("thread_id")
    return {run.thread_id: run for run in runs}


def _error(form: MessageForm) -> str:
    return " ".join(str(error) for errors in form.errors.values() for error in errors)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)
