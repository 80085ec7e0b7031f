"""Requests a person may read or decide; another tenant's do not exist."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404

from approvals.conversations.models import Hold
from approvals.reviews.models import RequestStatus, ReviewRequest
from approvals.tenants.access import DECIDES, MANAGES, READS_QUEUE, NotAllowed
from approvals.tenants.models import Membership


def open_requests(member: Membership) -> QuerySet[ReviewRequest]:
    """What waits, the next due first."""
    return _readable(member).filter(status=RequestStatus.PENDING).order_by("decide_by", "pk")


def closed_requests(member: Membership) -> QuerySet[ReviewRequest]:
    return _readable(member).exclude(status=RequestStatus.PENDING).order_by("-closed_at", "pk")


def request_for(member: Membership, request_id: UUID, *, to_decide: bool = False) -> ReviewRequest:
    review = _readable(member).select_related("call", "run", "conversation").filter(pk=request_id).first()
    if review is None:
        raise Http404("No such request.")
    if to_decide and (why := why_not(member, review)):
        raise NotAllowed(why)
    return review


def why_not(member: Membership, review: ReviewRequest) -> str:
    """Why this person may not decide this request; "" where he may."""
    if review.requester_id == member.user_id:
        return "You asked for this, so somebody else has to decide it."
    if member.role not in DECIDES:
        return "Only reviewers and admins decide."
    return ""


def standing_holds() -> QuerySet[Hold]:
    """What is on hold in the tenant this code acts for."""
    return Hold.objects.filter(lifted_at=None).select_related("agent", "placed_by").order_by("placed_at")


def hold_for(member: Membership, hold_id: UUID) -> Hold:
    may_hold(member)
    hold = standing_holds().filter(pk=hold_id).first()
    if hold is None:
        raise Http404("No such hold.")
    return hold


def may_hold(member: Membership) -> None:
    if member.role not in MANAGES:
        raise NotAllowed("Only admins put things on hold or lift a hold.")


def _readable(member: Membership) -> QuerySet[ReviewRequest]:
    if member.role not in READS_QUEUE:
        raise NotAllowed("Only reviewers, admins and auditors see the review queue.")
    return ReviewRequest.objects.select_related("requester")
