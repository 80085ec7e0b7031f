"""Agents, conversations and what happens in them. State charts are data here and pictures in docs/architecture.md."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from approvals.db.tenant_tables import TenantForeignKey
from approvals.db.transitions import TransitionQuerySet
from approvals.tenants.models import TenantRow, User


class Agent(TenantRow):
    """A tenant's configured agent: a graph of the registry under a name of the tenant's own."""

    name = models.CharField(max_length=80)
    graph_id = models.CharField("graph", max_length=80, help_text="An id from langgraph.json.")
    description = models.CharField(max_length=200, blank=True)
    starters = models.JSONField(
        default=list, blank=True, help_text="Messages to start with, shown in an empty chat: a list of texts."
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta(TenantRow.Meta):
        ordering = ["created_at", "name"]  # the first is offered first
        constraints = [
            *TenantRow.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "name"], name="one_agent_of_a_name"),
        ]

    def __str__(self) -> str:
        return self.name


class Hold(TenantRow):
    """While it stands, no claim succeeds and no run starts: of the whole tenant, of one agent, or of one tool."""

    agent = TenantForeignKey(Agent, models.CASCADE, null=True, related_name="holds")
    tool_name = models.CharField(max_length=200, blank=True)  # with no agent: this tool of every agent
    reason = models.TextField()
    placed_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    placed_at = models.DateTimeField(default=timezone.now, editable=False)
    lifted_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    lifted_at = models.DateTimeField(null=True)

    class Meta(TenantRow.Meta):
        # every claim and every start of a run asks whether one stands
        indexes = [models.Index(fields=["tenant"], condition=Q(lifted_at=None), name="standing_holds")]

    def __str__(self) -> str:
        return self.scope

    @property
    def scope(self) -> str:
        if self.agent is None:
            return f"tool {self.tool_name}" if self.tool_name else "everything"
        return f"{self.agent.name}: tool {self.tool_name}" if self.tool_name else f"agent {self.agent.name}"


class Conversation(TenantRow):
    """What an end user sees as one chat. `current_thread_id` is the branch that is shown."""

    user = models.ForeignKey(User, models.PROTECT, related_name="+")
    agent = TenantForeignKey(Agent, models.PROTECT, related_name="+")
    title = models.CharField(max_length=120, blank=True)
    current_thread_id = models.UUIDField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantRow.Meta):
        # "my conversations, newest first"
        indexes = [models.Index(fields=["tenant", "user", "-updated_at"], name="conversations_of_a_user")]

    def __str__(self) -> str:
        return self.title


class Thread(TenantRow):
    """One branch of a conversation; its id is LangGraph's `thread_id`. The first has the conversation's id."""

    conversation = TenantForeignKey(Conversation, models.CASCADE, related_name="threads")
    parent = TenantForeignKey("self", models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return str(self.pk)


class Lease(models.Model):
    """The right of one worker to drive one thread. Ids only, and exempt from row-level security: sweeps read it.

    The epoch is part of a unique key, so raising it waits for the fence's FOR KEY SHARE, while a heartbeat, which writes
    `expires_at` alone, does not (at most 1.6 ms under load; as columns of the conversation p95 was 4.7 s).
    """

    thread_id = models.UUIDField(primary_key=True)
    tenant_id = models.UUIDField()
    epoch = models.BigIntegerField(default=0)
    token = models.UUIDField(null=True)  # of this acquisition, never a worker's reusable name
    expires_at = models.DateTimeField(null=True)  # on the database's clock

    class Meta:
        constraints = [models.UniqueConstraint(fields=["thread_id", "epoch"], name="lease_epoch_is_fenced")]

    def __str__(self) -> str:
        return f"{self.thread_id} epoch {self.epoch}"


class RunStatus(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Working"
    WAITING = "waiting", "Waiting for review"
    SUCCEEDED = "succeeded", "Done"
    FAILED = "failed", "Failed"
    STUCK = "stuck", "Stuck"
    CANCELLED = "cancelled", "Cancelled"


class RunQuerySet(TransitionQuerySet):
    SOURCES: ClassVar = {  # to <- from
        RunStatus.QUEUED: (RunStatus.RUNNING, RunStatus.WAITING, RunStatus.FAILED, RunStatus.STUCK),
        RunStatus.RUNNING: (RunStatus.QUEUED, RunStatus.RUNNING),  # running: taken over from a worker that died
        RunStatus.WAITING: (RunStatus.RUNNING,),
        RunStatus.SUCCEEDED: (RunStatus.RUNNING,),
        RunStatus.FAILED: (RunStatus.RUNNING,),
        RunStatus.STUCK: (RunStatus.RUNNING,),
        RunStatus.CANCELLED: (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING),
    }


UNFINISHED = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING)


class Run(TenantRow):
    """One turn: from a user's message until the graph ends. It may pause many times."""

    Status = RunStatus

    conversation = TenantForeignKey(Conversation, models.CASCADE, related_name="runs")
    thread = TenantForeignKey(Thread, models.CASCADE, related_name="runs")
    position = models.PositiveIntegerField()  # in its thread, from 1
    requester = models.ForeignKey(User, models.PROTECT, related_name="+")
    status = models.CharField(max_length=9, choices=RunStatus, default=RunStatus.QUEUED)
    wake_at = models.DateTimeField(default=timezone.now)  # a queued run is not driven before (undo window)
    graph_id = models.CharField(max_length=80)
    graph_version = models.CharField(max_length=16, blank=True)  # of its newest drive
    epoch = models.BigIntegerField(default=0)  # of the lease that drives or last drove it
    failures = models.PositiveSmallIntegerField(default=0)  # drives in a row that ended without an outcome
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True)

    objects = RunQuerySet.as_manager()

    class Meta(TenantRow.Meta):
        constraints = [
            *TenantRow.Meta.constraints,
            models.UniqueConstraint(fields=["thread", "position"], name="runs_of_a_thread_are_in_order"),
            models.UniqueConstraint(
                fields=["thread"], condition=Q(status__in=["running", "waiting"]), name="one_run_at_a_time_in_a_thread"
            ),
        ]
        # the sweep: runs that some worker should be driving
        indexes = [
            models.Index(fields=["wake_at"], condition=Q(status__in=["queued", "running"]), name="runs_to_drive"),
            models.Index(fields=["conversation"], name="runs_of_a_conversation"),
        ]

    def __str__(self) -> str:
        return f"run {self.position}"

    @property
    def is_unfinished(self) -> bool:
        return self.status in UNFINISHED


class Message(TenantRow):
    """One entry of the transcript that people read. The transcript is ours; the checkpoint is the graph's."""

    class Author(models.TextChoices):
        USER = "user", "User"
        AGENT = "agent", "Agent"

    conversation = TenantForeignKey(Conversation, models.CASCADE, related_name="messages")
    thread = TenantForeignKey(Thread, models.CASCADE, related_name="messages")
    run = TenantForeignKey(Run, models.CASCADE, related_name="messages")
    author = models.CharField(max_length=5, choices=Author)
    # LangGraph's id of the message: a drive that starts again finds its own rows by it
    graph_message_id = models.CharField(max_length=200)
    text = models.TextField(blank=True)
    complete = models.BooleanField(default=True)  # False while its text still streams in
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta(TenantRow.Meta):
        ordering = ["created_at", "pk"]
        constraints = [
            *TenantRow.Meta.constraints,
            models.UniqueConstraint(fields=["run", "graph_message_id"], name="a_message_is_stored_once"),
        ]
        indexes = [models.Index(fields=["conversation", "created_at"], name="transcript")]

    def __str__(self) -> str:
        return self.text[:80]
