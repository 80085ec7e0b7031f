"""The one door through which live pages hear of a change: after the commit, or not at all."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction
from psycopg import AsyncConnection

from approvals.db.notify_layer import NotifyChannelLayer

log = logging.getLogger(__name__)


def publish_on_commit(group: str, kind: str, **facts: Any) -> None:
    """Send a hint to a group when the transaction commits. Ids only: the page fetches the truth.

    `robust`: a dead layer must not turn a committed decision into an error page.
    """
    transaction.on_commit(partial(_publish, group, _message(kind, facts)), robust=True)


async def publish_through(connection: AsyncConnection[Any], group: str, kind: str, **facts: Any) -> None:
    """The same for code that has a connection of its own, outside Django: call it when that has committed."""
    layer = get_channel_layer()
    if isinstance(layer, NotifyChannelLayer):
        await connection.execute(*layer.notification(group, _message(kind, facts)))
    elif layer is not None:
        await layer.group_send(group, _message(kind, facts))


def _message(kind: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, **{name: str(value) for name, value in facts.items()}}


def _publish(group: str, message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    if isinstance(layer, NotifyChannelLayer):
        layer.notify(group, message)  # on the connection that committed: another thread and connection cost 2 ms of CPU
    elif layer is not None:
        async_to_sync(layer.group_send)(group, message)
