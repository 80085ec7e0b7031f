"""A socket of one tenant: who may listen is asked when it opens and again before each thing it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import close_old_connections
from django.http import Http404

from approvals.db.tenant_scope import acting_for
from approvals.tenants.access import NotAllowed, membership_in, membership_of
from approvals.tenants.events import tenant_group
from approvals.tenants.models import Membership

T = TypeVar("T")
SIGNED_OUT, NO_ACCESS = 4401, 4403


class TenantConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Refuses by accepting and closing with 4401 or 4403: a refused handshake would be retried for ever."""

    user_id: UUID
    tenant_id: UUID

    def group_for(self, member: Membership) -> str:
        """The group to listen to; raises NotAllowed or Http404 where this person may not."""
        raise NotImplementedError

    async def connect(self) -> None:
        await self.accept()
        user = self.scope["user"]
        if not user.is_authenticated:
            await self.close(SIGNED_OUT)
            return
        try:
            group = await self._enter(user)
        except (NotAllowed, Http404):
            await self.close(NO_ACCESS)
            return
        self.groups = [group, tenant_group(self.tenant_id)]  # left when the socket closes
        for each in self.groups:
            await self.channel_layer.group_add(each, self.channel_name)

    async def read(self, look: Callable[[Membership], T]) -> T | None:
        """Look something up as this person, in this tenant, now; close the socket where he may not any more."""
        try:
            return await sync_to_async(self._look)(look)
        except (NotAllowed, Http404):
            await self.close(NO_ACCESS)
            return None

    async def tell(self, **frame: Any) -> None:
        await self.send(text_data=json.dumps(frame))

    async def resync(self, _: dict[str, Any]) -> None:
        """Something may have been missed: the page asks again."""
        await self.tell(event="refresh")

    async def tenant_changed(self, _: dict[str, Any]) -> None:
        """Something that every page of the tenant shows: a hold was placed or lifted."""
        await self.tell(event="refresh")

    async def _enter(self, user: Any) -> str:
        slug = self.scope["url_route"]["kwargs"]["tenant"]
        member = await sync_to_async(membership_of)(user, slug)
        self.user_id, self.tenant_id = member.user_id, member.tenant_id
        return await sync_to_async(self._look)(self.group_for)

    def _look(self, look: Callable[[Membership], T]) -> T:
        close_old_connections()
        try:
            member = membership_in(self.user_id, self.tenant_id)
            if member is None:
                raise NotAllowed("You are no longer a member here.")
            with acting_for(self.tenant_id):
                return look(member)
        finally:
            close_old_connections()
