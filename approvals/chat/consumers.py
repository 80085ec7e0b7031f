"""A conversation's socket: each hint becomes the turn the page was built from."""

from __future__ import annotations

from typing import Any

from django.template.loader import render_to_string

from approvals.chat.presentation import conversation_item, turns_of
from approvals.conversations.access import conversation_for
from approvals.conversations.events import conversation_group
from approvals.conversations.models import Run
from approvals.tenants.consumers import TenantConsumer
from approvals.tenants.models import Membership


class ConversationConsumer(TenantConsumer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seen: dict[str, str] = {}  # run -> what the page was last told of its state

    def group_for(self, member: Membership) -> str:
        conversation = conversation_for(member, self.scope["url_route"]["kwargs"]["conversation"])
        self._conversation_id = conversation.pk
        return conversation_group(conversation.pk)

    async def turn_changed(self, message: dict[str, Any]) -> None:
        """Text and cards go out as they are; where the run moved, the page also asks for everything around them."""

        def turn(member: Membership) -> tuple[str, str]:
            conversation = conversation_for(member, self._conversation_id)
            runs = Run.objects.filter(pk=message["run_id"], conversation=conversation)
            [shown] = turns_of(conversation, member, runs)
            context = {"turn": shown, "tenant": member.tenant, "conversation": conversation_item(conversation, None)}
            return shown.state, render_to_string("chat/conversation.html#turn", context)

        if (found := await self.read(turn)) is None:
            return
        state, html = found
        await self.tell(content=html, target=f"#turn-{message['run_id']}", swap="outerMorph")
        if self._seen.get(message["run_id"]) != state:
            self._seen[message["run_id"]] = state
            await self.tell(event="refresh")
