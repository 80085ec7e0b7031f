"""The only writers of conversations: one verb each."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from django.db import transaction
from django.db.models import F, Max
from django.db.models.functions import Least, Now
from django.utils import timezone

from agents.canonical import storable
from approvals.audit.actions import record
from approvals.conversations.events import publish_turn, wake_runner
from approvals.conversations.models import Agent, Conversation, Lease, Message, Run, RunStatus, Thread
from approvals.tenants.models import User

LONGEST_TITLE = 80  # characters of the first message


@transaction.atomic(durable=True)
def start_conversation(*, agent: Agent, user: User, text: str) -> Conversation:
    """Open a conversation with its first thread, whose id it shares, and send the first message."""
    conversation_id = uuid4()
    conversation = Conversation.objects.create(
        pk=conversation_id,
        tenant_id=agent.tenant_id,
        user=user,
        agent=agent,
        title=title_from(text),
        current_thread_id=conversation_id,
    )
    Thread.objects.create(pk=conversation_id, tenant_id=agent.tenant_id, conversation=conversation)
    Lease.objects.create(thread_id=conversation_id, tenant_id=agent.tenant_id)
    _send(conversation, agent, user, text)
    return conversation


@transaction.atomic(durable=True)
def send_message(*, conversation: Conversation, user: User, text: str) -> Run:
    """Queue one turn. Behind an unfinished one it waits: new input would discard what a paused graph asks."""
    locked = (
        Conversation.objects.select_for_update(of=("self",), no_key=True)
        .select_related("agent")
        .get(pk=conversation.pk)
    )
    return _send(locked, locked.agent, user, text)


@transaction.atomic(durable=True)
def retry_run(*, run: Run, by: User) -> bool:
    """Drive a failed or stuck run once more, from its last checkpoint. Only a thread's newest: later turns stand on it."""
    newest = Run.objects.filter(thread_id=run.thread_id).order_by("-position").locked().first()
    if newest is None or newest.pk != run.pk:
        return False
    broken = Run.objects.filter(pk=run.pk, status__in=(RunStatus.FAILED, RunStatus.STUCK))
    if not broken.transition(RunStatus.QUEUED, wake_at=Now(), failures=0, error="", ended_at=None):
        return False
    wake_runner(newest)
    record("run.retried_by_hand", tenant_id=run.tenant_id, subject_id=run.pk, actor="person", actor_id=by.pk)
    publish_turn(newest)
    return True


def queue_run(run: Run, *, at: datetime | None) -> None:
    """Wake a paused run, at `at` or now. A run that works is left alone: suspending looks for settled calls first."""
    when = at or Now()
    paused = Run.objects.filter(pk=run.pk, status=RunStatus.WAITING)
    if not paused.transition(RunStatus.QUEUED, wake_at=when):
        Run.objects.filter(pk=run.pk, status=RunStatus.QUEUED).update(wake_at=Least(F("wake_at"), when))
    wake_runner(run, at=at)


def _send(conversation: Conversation, agent: Agent, user: User, text: str) -> Run:
    thread_id = conversation.current_thread_id
    newest = Run.objects.filter(thread_id=thread_id).aggregate(Max("position"))["position__max"] or 0
    run = Run.objects.create(
        tenant_id=conversation.tenant_id,
        conversation=conversation,
        thread_id=thread_id,
        position=newest + 1,
        requester=user,
        graph_id=agent.graph_id,
    )
    message_id = uuid4()
    Message.objects.create(
        pk=message_id,
        tenant_id=conversation.tenant_id,
        conversation=conversation,
        thread_id=thread_id,
        run=run,
        author=Message.Author.USER,
        graph_message_id=str(message_id),
        text=storable(text),
    )
    Conversation.objects.filter(pk=conversation.pk).update(updated_at=timezone.now())
    wake_runner(run)
    record("run.queued", tenant_id=run.tenant_id, subject_id=run.pk, actor="person", actor_id=user.pk)
    publish_turn(run)
    return run


def title_from(text: str) -> str:
    first = next((line.strip() for line in storable(text).splitlines() if line.strip()), "Conversation")
    return first if len(first) <= LONGEST_TITLE else f"{first[:LONGEST_TITLE].rstrip()}…"
