"""The ledger of tool calls, and the catalogue of tools that pages and policies read instead of importing a graph."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from approvals.conversations.models import Conversation, Run, Thread
from approvals.db.tenant_tables import TenantForeignKey
from approvals.db.transitions import TransitionQuerySet
from approvals.tenants.models import TenantRow


class CatalogueTool(models.Model):
    """A tool as the runner knows it. One row for each version, for an open request is shown by the version it was asked in.

    Not a tenant's: what a graph can do is the installation's. Exempt from row-level security, written by the worker.
    """

    graph_id = models.CharField(max_length=80)
    name = models.CharField(max_length=200)
    version = models.CharField(max_length=16)
    description = models.TextField(blank=True)
    schema_text = models.TextField()  # JSON as text: JSONB would lose the order in which people are shown the arguments
    manifest = models.JSONField(null=True)  # agents.contracts.Manifest as an object; null: none was written
    current = models.BooleanField(default=True)
    seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["graph_id", "name", "version"], name="a_tool_version_is_listed_once")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def schema(self) -> dict[str, Any]:
        return dict(json.loads(self.schema_text))


class CallStatus(models.TextChoices):
    ALLOWED = "allowed", "Allowed by policy"
    ASKED = "asked", "Waiting for review"
    DENIED = "denied", "Denied"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    ANSWERED = "answered", "Answered by a person"
    EXPIRED = "expired", "Expired"
    WITHDRAWN = "withdrawn", "Withdrawn"
    EXECUTING = "executing", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    UNKNOWN = "unknown", "Outcome unknown"


class CallQuerySet(TransitionQuerySet):
    SOURCES: ClassVar = {  # to <- from
        CallStatus.APPROVED: (CallStatus.ASKED, CallStatus.UNKNOWN),
        CallStatus.ASKED: (CallStatus.ALLOWED, CallStatus.APPROVED, CallStatus.REJECTED, CallStatus.ANSWERED),
        CallStatus.REJECTED: (CallStatus.ASKED,),
        CallStatus.ANSWERED: (CallStatus.ASKED,),
        CallStatus.EXPIRED: (CallStatus.ASKED, CallStatus.APPROVED),
        CallStatus.WITHDRAWN: (CallStatus.ALLOWED, CallStatus.ASKED, CallStatus.APPROVED),
        CallStatus.DENIED: (CallStatus.ASKED, CallStatus.APPROVED),
        CallStatus.EXECUTING: (CallStatus.ALLOWED, CallStatus.APPROVED),
        CallStatus.DONE: (CallStatus.EXECUTING, CallStatus.UNKNOWN),
        CallStatus.FAILED: (CallStatus.EXECUTING, CallStatus.UNKNOWN),
        CallStatus.UNKNOWN: (CallStatus.EXECUTING, CallStatus.APPROVED, CallStatus.DONE, CallStatus.FAILED),  # undone
    }


class ToolCall(TenantRow):
    """One proposed call of one tool: the row that allows at most one effect for each attempt somebody allowed.

    `arguments` is what the model wrote, `approved_arguments` what may run (after an edit they differ); both canonical
    JSON, kept as text, for JSONB would not give the same bytes back.
    """

    Status = CallStatus

    conversation = TenantForeignKey(Conversation, models.CASCADE, related_name="calls")
    thread = TenantForeignKey(Thread, models.CASCADE, related_name="calls")
    run = TenantForeignKey(Run, models.CASCADE, related_name="calls")
    graph_message_id = models.CharField(max_length=200)
    call_id = models.CharField(max_length=200)
    tool_name = models.CharField(max_length=200)
    title = models.TextField()  # the manifest's, over what would run
    status = models.CharField(max_length=9, choices=CallStatus)
    arguments = models.TextField()
    digest = models.CharField(max_length=64)
    approved_arguments = models.TextField(blank=True)
    approved_digest = models.CharField(max_length=64, blank=True)
    tool_version = models.CharField(max_length=16)
    graph_version = models.CharField(max_length=16)
    policy_version = models.CharField(max_length=40)
    rerun = models.CharField(max_length=13)  # agents.contracts.Rerun
    asking = models.PositiveSmallIntegerField(default=0)  # how often people were asked
    attempt = models.PositiveSmallIntegerField(default=0)  # how often it was claimed
    allowances = models.PositiveSmallIntegerField(default=0)  # how often a person or a policy allowed an attempt
    epoch = models.BigIntegerField(null=True)  # of the lease that claimed the present attempt
    effective_at = models.DateTimeField(null=True)  # an approval may be consumed from here (undo window) ...
    execute_by = models.DateTimeField(null=True)  # ... to here
    result = models.TextField(blank=True)  # what the model is told: result, error, reason or answer
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    objects = CallQuerySet.as_manager()

    class Meta(TenantRow.Meta):
        ordering = ["created_at", "pk"]
        constraints = [
            *TenantRow.Meta.constraints,
            models.UniqueConstraint(
                fields=["run", "graph_message_id", "call_id"], name="a_call_is_proposed_once_in_a_message"
            ),
            models.CheckConstraint(condition=Q(attempt__lte=models.F("allowances")), name="attempts_were_allowed"),
        ]
        indexes = [models.Index(fields=["conversation"], name="calls_of_a_conversation")]

    def __str__(self) -> str:
        return self.title

    @property
    def final_arguments(self) -> str:
        return self.approved_arguments or self.arguments

    @property
    def final_digest(self) -> str:
        return self.approved_digest or self.digest


def tool_of(call: ToolCall) -> CatalogueTool | None:
    """The tool as it was when the call was asked."""
    return CatalogueTool.objects.filter(
        graph_id=call.run.graph_id, name=call.tool_name, version=call.tool_version
    ).first()
