"""What others hear of a conversation: hints for open pages, wake-ups for workers. Both carry ids only."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from procrastinate.contrib.django import app

from approvals.conversations.models import Run
from approvals.db.publishing import publish_on_commit

DRIVE = "approvals.runner.tasks.drive"  # named, not imported: the row is the hand-off


def conversation_group(conversation_id: UUID) -> str:
    return f"conversation.{conversation_id}"


def publish_turn(run: Run) -> None:
    """This turn of the conversation looks different now."""
    publish_on_commit(conversation_group(run.conversation_id), "turn.changed", run_id=run.pk)


def wake_runner(run: Run, *, at: datetime | None = None) -> None:
    """Leave a job in the same transaction: it exists if and only if the rows do. Lost or doubled, it changes nothing."""
    task = app.configure_task(DRIVE, queue="drive", schedule_at=at)
    task.defer(thread_id=str(run.thread_id), tenant_id=str(run.tenant_id))
