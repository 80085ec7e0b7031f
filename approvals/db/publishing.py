"""The one door through which live pages hear of a change: after the commit, or not at all."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

log = logging.getLogger(__name__)


def publish_on_commit(group: str, kind: str, **facts: Any) -> None:
    """Send a hint to a group when the transaction commits. Ids only: the page fetches the truth.

    `robust`: a dead layer must not turn a committed decision into an error page.
    """
    message = {"type": kind, **{name: str(value) for name, value in facts.items()}}
    transaction.on_commit(partial(_publish, group, message), robust=True)


def _publish(group: str, message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    if layer is not None:
        async_to_sync(layer.group_send)(group, message)
