"""The queue's socket: hints become the row the page was built from, rendered anew for this person."""

from __future__ import annotations

from typing import Any

from django.template.loader import render_to_string

from approvals.reviews.access import request_for
from approvals.reviews.events import queue_group
from approvals.reviews.models import RequestStatus
from approvals.reviews.presentation import decision_of, queue_item
from approvals.tenants.access import READS_QUEUE, NotAllowed
from approvals.tenants.consumers import TenantConsumer
from approvals.tenants.models import Membership


class QueueConsumer(TenantConsumer):
    def group_for(self, member: Membership) -> str:
        if member.role not in READS_QUEUE:
            raise NotAllowed
        return queue_group(member.tenant_id)

    async def request_changed(self, message: dict[str, Any]) -> None:
        """Opened: the page asks for its list again. Closed: the row greys out where it stands."""

        def row(member: Membership) -> tuple[str, str, str]:
            review = request_for(member, message["request_id"])
            item = queue_item(review, decision_of(review))
            html = render_to_string("reviews/queue.html#row", {"item": item, "tenant": member.tenant})
            return review.status, html, str(item["outcome"])

        if (found := await self.read(row)) is None:
            return
        status, html, outcome = found
        if status == RequestStatus.PENDING:
            await self.tell(event="refresh")
            return
        await self.tell(content=html, target=f"#req-{message['request_id']}", swap="outerMorph")
        await self.tell(event="request.changed", id=message["request_id"], text=outcome)
