"""From the graph's stream to the transcript that people read: text in batches, each message stored once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage

from agents.canonical import storable
from agents.checkpointing import SCOPE, Pool
from approvals.conversations.events import conversation_group
from approvals.db.publishing import publish_through
from approvals.runner.ledger import NoLongerOurs

BATCH_SECONDS = 0.15  # between two writes of a streaming text
LONGEST_TEXT = 200_000  # characters of one message; what is more is said, not shown

# A message that another run of the thread has already is history a node returned again, not news. One that an earlier,
# dead drive of this run left half written gives way to the answer that is written now.
WRITE = """
WITH gone AS (
    DELETE FROM conversations_message
     WHERE run_id = %(run)s AND NOT complete AND graph_message_id <> ALL(%(ours)s::varchar[])
)
INSERT INTO conversations_message
       (id, tenant_id, conversation_id, thread_id, run_id, author, graph_message_id, text, complete, created_at)
SELECT %(id)s, r.tenant_id, r.conversation_id, r.thread_id, r.id, 'agent', %(message)s::varchar, %(text)s, %(complete)s,
       clock_timestamp()
  FROM conversations_run r
 WHERE r.id = %(run)s AND r.status = 'running'
   AND NOT EXISTS (SELECT 1 FROM conversations_message m WHERE m.thread_id = r.thread_id AND m.run_id <> r.id
                   AND m.graph_message_id = %(message)s::varchar)
ON CONFLICT (run_id, graph_message_id) DO UPDATE SET text = EXCLUDED.text, complete = EXCLUDED.complete
"""
STILL_RUNNING = "SELECT 1 FROM conversations_run WHERE id = %s AND status = 'running' AND epoch = %s"


@dataclass
class _Text:
    parts: list[str] = field(default_factory=list)

    @property
    def whole(self) -> str:
        text = storable("".join(self.parts))
        if len(text) <= LONGEST_TEXT:
            return text
        return f"{text[:LONGEST_TEXT]}\n\n… the answer went on for {len(text) - LONGEST_TEXT:,} more characters."


@dataclass(kw_only=True)
class Transcript:
    """The messages of one drive. Fed with the parts of `astream(version="v2")`."""

    pool: Pool
    tenant_id: UUID
    epoch: int
    run_id: UUID
    conversation_id: UUID
    _texts: dict[str, _Text] = field(default_factory=dict)
    _last_write: float = field(default_factory=time.monotonic)  # so a text that comes at once is written once

    async def take(self, part: Mapping[str, Any]) -> None:
        if part["type"] == "messages":
            await self._take_chunk(part["data"][0])
        elif part["type"] == "updates":
            for update in part["data"].values():
                for message in _messages_in(update):
                    await self._take_whole(message)

    async def _take_chunk(self, chunk: BaseMessage) -> None:
        if not isinstance(chunk, AIMessageChunk) or not chunk.id:
            return
        text = self._texts.setdefault(chunk.id, _Text())
        text.parts.append(chunk.text)
        if time.monotonic() - self._last_write >= BATCH_SECONDS:
            await self._write(chunk.id, complete=False)

    async def _take_whole(self, message: AIMessage) -> None:
        if not message.id:
            return
        self._texts[message.id] = _Text(parts=[message.text])
        await self._write(message.id, complete=True)

    async def _write(self, message_id: str, *, complete: bool) -> None:
        self._last_write = time.monotonic()
        values = {
            "id": uuid4(),
            "run": self.run_id,
            "message": storable(message_id)[:200],
            "text": self._texts[message_id].whole,
            "complete": complete,
            "ours": list(self._texts),
        }
        async with self.pool.connection() as connection:
            async with connection.pipeline():
                await connection.execute(SCOPE, (str(self.tenant_id), str(self.epoch)))
                await connection.execute(WRITE, values)
                running = await connection.execute(STILL_RUNNING, (self.run_id, self.epoch))
                if await running.fetchone() is None:  # somebody pressed Stop, or another worker has the run
                    raise NoLongerOurs
            group = conversation_group(self.conversation_id)
            await publish_through(connection, group, "turn.changed", run_id=self.run_id)


def _messages_in(update: Any) -> list[AIMessage]:
    """The model's messages in a node's update, which may be anything: a mapping, a list of Commands, None."""
    found = update.get("messages") if isinstance(update, Mapping) else None
    listed = found if isinstance(found, list) else [found]
    return [message for message in listed if isinstance(message, AIMessage) and not isinstance(message, AIMessageChunk)]
