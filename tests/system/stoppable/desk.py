"""The support desk with its own tools and model, which a test can stop inside an effect or in mid-sentence.

A file named by the call ("before" or "after" in it), or named "model", stops whoever comes there: `<name>.reached` says
so, and deleting the file lets it go on. Loaded by workers through GATEHOUSE_GRAPHS; never part of the product.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import StructuredTool

from agents.contracts import current_effect
from agents.gate import GatedTool
from agents.models.desk_script import support_desk
from agents.models.scripted import ScriptedChatModel
from agents.tools.shop import TOOLS

STOPS = Path(os.environ["GATEHOUSE_TEST_STOPS"])


async def stop_at(name: str, place: str) -> None:
    stop = STOPS / name
    if not stop.exists() or stop.read_text() != place:
        return
    (STOPS / f"{name}.reached").touch()
    while stop.exists():
        await asyncio.sleep(0.02)


def stoppable(tool: GatedTool) -> GatedTool:
    """The same tool: the same name, schema, manifest and effect."""
    inner = tool._inner
    assert isinstance(inner, StructuredTool)
    assert inner.coroutine
    effect = inner.coroutine

    async def run(**arguments: Any) -> Any:
        call = str(current_effect().call_id)
        await stop_at(call, "before")
        result = await effect(**arguments)
        await stop_at(call, "after")
        return result

    again = StructuredTool(name=inner.name, description=inner.description, args_schema=inner.args_schema, coroutine=run)
    return GatedTool(again, tool.card.manifest)


class StoppableModel(ScriptedChatModel):
    """Stops after its third chunk when the user wrote "slowly"."""

    async def _astream(self, messages: list[Any], *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        slowly = any(message.type == "human" and "slowly" in message.text for message in messages)
        told = 0
        async for chunk in super()._astream(messages, *args, **kwargs):
            yield chunk
            told += 1
            if slowly and told == 3:
                await stop_at("model", "")


graph = create_agent(
    model=StoppableModel(script=support_desk), tools=[stoppable(tool) for tool in TOOLS], name="support_desk"
)
