"""A model without AI: it follows a script, streams like a real one, and needs neither a key nor a network."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

LABEL = "Demo model, no AI: it follows a script"
DELAY_MS = 15  # between two chunks: about as fast as people read along
MOST_CHUNKS = 150  # a long text comes in longer pieces, not in more time


@dataclass(frozen=True)
class Call:
    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """What a script has the model say and call next."""

    text: str
    calls: tuple[Call, ...] = ()


Script = Callable[[Sequence[BaseMessage], frozenset[str]], Line]
"""From the messages so far and the names of the tools at hand; nothing else may matter, so a re-run says the same."""


class ScriptedChatModel(BaseChatModel):
    """Demo model, no AI: it follows a script."""

    script: Script

    @property
    def _llm_type(self) -> str:
        return "gatehouse-demo"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": LABEL}

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        line, call_ids = self._next(messages, kwargs)
        calls = [
            {"name": call.tool, "args": dict(call.arguments), "id": id_, "type": "tool_call"}
            for call, id_ in zip(line.calls, call_ids, strict=True)
        ]
        message = AIMessage(line.text, tool_calls=calls, response_metadata={"model_name": LABEL})
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(*self._next(messages, kwargs)):
            time.sleep(_delay())
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _chunks(*self._next(messages, kwargs)):
            await asyncio.sleep(_delay())
            yield chunk

    def _next(self, messages: list[BaseMessage], kwargs: Mapping[str, Any]) -> tuple[Line, list[str]]:
        line = self.script(messages, frozenset(tool["function"]["name"] for tool in kwargs.get("tools", ())))
        told = _digest(messages)
        return line, [f"call_{told}_{index}" for index in range(len(line.calls))]


def _delay() -> float:
    """Seconds between two chunks."""
    try:
        wanted = int(os.environ.get("GATEHOUSE_DEMO_DELAY_MS", DELAY_MS))
    except ValueError:
        wanted = DELAY_MS
    return min(max(wanted, 0), 1000) / 1000


def _digest(messages: Sequence[BaseMessage]) -> str:
    """Different after every message of a thread, and the same when a step is run again: call ids are made of it."""
    told = hashlib.sha256()
    for message in messages:
        told.update(repr((message.type, message.id, message.content)).encode(errors="replace"))
    return told.hexdigest()[:16]


def _chunks(line: Line, call_ids: Sequence[str]) -> Iterator[ChatGenerationChunk]:
    for piece in _pieces(line.text):
        yield _chunk(piece)
    for index, (call, id_) in enumerate(zip(line.calls, call_ids, strict=True)):
        # As providers do it: name and id come once, the arguments after them in pieces that are no JSON by themselves.
        yield _chunk(part=tool_call_chunk(name=call.tool, args="", id=id_, index=index))
        for piece in _pieces(json.dumps(dict(call.arguments), ensure_ascii=False), size=16):
            yield _chunk(part=tool_call_chunk(args=piece, index=index))
    yield ChatGenerationChunk(
        message=AIMessageChunk(content="", chunk_position="last", response_metadata={"model_name": LABEL})
    )


def _chunk(text: str = "", part: ToolCallChunk | None = None) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text, tool_call_chunks=[part] if part else []))


def _pieces(text: str, size: int = 5) -> Iterator[str]:
    size = max(size, len(text) // MOST_CHUNKS)
    for start in range(0, len(text), size):
        yield text[start : start + size]
