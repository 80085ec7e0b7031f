from __future__ import annotations

from uuid import UUID

from approvals.db.publishing import publish_on_commit
from approvals.reviews.models import ReviewRequest


def queue_group(tenant_id: UUID) -> str:
    return f"queue.{tenant_id}"


def publish_request(review: ReviewRequest) -> None:
    """This request was opened or closed."""
    publish_on_commit(queue_group(review.tenant_id), "request.changed", request_id=review.pk)
