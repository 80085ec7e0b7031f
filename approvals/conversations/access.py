"""Conversations a person may open; everything else is not there."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404

from approvals.conversations.models import Agent, Conversation
from approvals.tenants.access import CHATS, READS_EVERY_CONVERSATION, NotAllowed
from approvals.tenants.models import Membership


def conversations_of(member: Membership) -> QuerySet[Conversation]:
    """The person's own, newest first."""
    return Conversation.objects.filter(user_id=member.user_id).select_related("agent").order_by("-updated_at")


def conversation_for(member: Membership, conversation_id: UUID, *, to_write: bool = False) -> Conversation:
    """Its owner's, and to read also an admin's or auditor's of the tenant. 404 for others, 403 for those who may read."""
    conversation = Conversation.objects.select_related("agent", "user").filter(pk=conversation_id).first()
    if conversation is None or not _may_read(member, conversation):
        raise Http404("No such conversation.")
    if to_write and conversation.user_id != member.user_id:
        raise NotAllowed("Only the person who began this conversation can write in it.")
    return conversation


def agents_for(member: Membership) -> QuerySet[Agent]:
    return Agent.objects.filter(enabled=True) if member.role in CHATS else Agent.objects.none()


def agent_for(member: Membership, agent_id: UUID) -> Agent:
    if member.role not in CHATS:
        raise NotAllowed("Auditors read; they do not chat.")
    agent = agents_for(member).filter(pk=agent_id).first()
    if agent is None:
        raise Http404("No such agent.")
    return agent


def _may_read(member: Membership, conversation: Conversation) -> bool:
    return conversation.user_id == member.user_id or member.role in READS_EVERY_CONVERSATION
