"""Questions to people, and people's answers."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from approvals.calls.models import ToolCall
from approvals.conversations.models import Conversation, Run, Thread
from approvals.db.tenant_tables import TenantForeignKey
from approvals.db.transitions import TransitionQuerySet
from approvals.tenants.models import TenantRow, User


class RequestStatus(models.TextChoices):
    PENDING = "pending", "Open"
    DECIDED = "decided", "Decided"
    EXPIRED = "expired", "Expired"
    WITHDRAWN = "withdrawn", "Withdrawn"
    SUPERSEDED = "superseded", "Superseded"


class RequestQuerySet(TransitionQuerySet):
    SOURCES: ClassVar = {  # to <- from
        RequestStatus.PENDING: (RequestStatus.DECIDED,),
        RequestStatus.DECIDED: (RequestStatus.PENDING,),
        RequestStatus.EXPIRED: (RequestStatus.PENDING,),
        RequestStatus.WITHDRAWN: (RequestStatus.PENDING,),
        RequestStatus.SUPERSEDED: (RequestStatus.PENDING, RequestStatus.DECIDED),
    }


class ReviewRequest(TenantRow):
    """One question to people: about a call, about a graph's own pause, or about an outcome nobody knows.

    What people are shown is fixed here when the question is asked, and `digest` binds an answer to it.
    """

    Status = RequestStatus

    class Kind(models.TextChoices):
        CALL = "call", "Tool call"
        PAUSE = "pause", "Question of the graph"
        OUTCOME = "outcome", "Outcome unknown"

    number = models.PositiveIntegerField(
        null=True
    )  # "REQ-17": counted in each tenant, given at the commit by a trigger
    kind = models.CharField(max_length=7, choices=Kind)
    conversation = TenantForeignKey(Conversation, models.CASCADE, related_name="requests")
    thread = TenantForeignKey(Thread, models.CASCADE, related_name="requests")
    run = TenantForeignKey(Run, models.CASCADE, related_name="requests")
    call = TenantForeignKey(ToolCall, models.CASCADE, null=True, related_name="requests")
    asking = models.PositiveSmallIntegerField(default=0)  # of a call; of an unknown outcome: its attempt
    interrupt_id = models.CharField(max_length=64, blank=True)  # of a pause
    payload = models.TextField(blank=True)  # of a pause: what the graph asks, canonical JSON
    state = models.TextField(blank=True)  # of a pause: the graph's state that may be edited, canonical JSON
    status = models.CharField(max_length=10, choices=RequestStatus, default=RequestStatus.PENDING)
    title = models.TextField()
    risk = models.CharField(max_length=7)
    flags = models.PositiveSmallIntegerField(default=0)  # arguments with something a reader could not see
    why = models.TextField()  # the policy's sentence
    policy_version = models.CharField(max_length=40)
    digest = models.CharField(max_length=64)
    agent_name = models.CharField(max_length=80)
    tool_name = models.CharField(max_length=200, blank=True)
    requester = models.ForeignKey(User, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    decide_by = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    closed_because = models.TextField(blank=True)  # why it was superseded or withdrawn

    objects = RequestQuerySet.as_manager()

    class Meta(TenantRow.Meta):
        constraints = [
            *TenantRow.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "number"], name="request_numbers_are_unique"),
            models.UniqueConstraint(
                fields=["call", "kind", "asking"],
                condition=Q(call__isnull=False) & ~Q(status="superseded"),
                name="one_request_for_each_asking",
            ),
            models.UniqueConstraint(
                fields=["run", "interrupt_id", "digest"],
                condition=Q(kind="pause") & ~Q(status="superseded"),
                name="one_request_for_each_pause",
            ),
        ]
        indexes = [
            # the queue: what is open, by due time
            models.Index(fields=["tenant", "decide_by", "id"], condition=Q(status="pending"), name="open_requests"),
            # the second tab: what was decided last
            models.Index(fields=["tenant", "-closed_at"], condition=~Q(status="pending"), name="closed_requests"),
            models.Index(fields=["run"], name="requests_of_a_run"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def label(self) -> str:
        return f"REQ-{self.number}"


class RequestCounter(models.Model):
    """The last request number of each tenant. Exempt from row-level security: a number and an id."""

    tenant_id = models.UUIDField(primary_key=True)
    last = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.last}"


class Verdict(models.TextChoices):
    APPROVE = "approve", "Approved"
    EDIT = "edit", "Approved with edits"
    REJECT = "reject", "Rejected"
    RESPOND = "respond", "Answered"


class Decision(TenantRow):
    """One person's answer. `effective_at` is when it may take effect: now, or the end of the tenant's undo window."""

    request = TenantForeignKey(ReviewRequest, models.CASCADE, related_name="decisions")
    reviewer = models.ForeignKey(User, models.PROTECT, related_name="+")
    verdict = models.CharField(max_length=7, choices=Verdict)
    digest = models.CharField(max_length=64)  # what the person saw
    feedback = models.TextField(blank=True)  # goes to the agent: a reason, or the answer in the tool's place
    arguments = models.TextField(blank=True)  # after an edit, canonical JSON
    answer = models.TextField(blank=True)  # to a pause, canonical JSON
    state_edit = models.TextField(blank=True)  # to a pause: changed parts of the state, canonical JSON
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    effective_at = models.DateTimeField()
    undone_at = models.DateTimeField(null=True)  # taken back within the window; the record keeps both marks
    delivered_at = models.DateTimeField(null=True)  # a pause's answer has reached the graph

    class Meta(TenantRow.Meta):
        constraints = [
            *TenantRow.Meta.constraints,
            models.UniqueConstraint(
                fields=["request", "reviewer"], condition=Q(undone_at__isnull=True), name="one_decision_of_a_person"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_verdict_display()} by {self.reviewer}"
