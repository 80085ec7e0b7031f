"""The gate: the only way from a graph to a tool.

A gated tool is a tool, so it works in any LangGraph graph (`create_agent`, `ToolNode`, subgraphs). LangGraph only pauses
and wakes; the decision is read from the ledger and never from a resume value, which LangGraph hands to the wrong question
under parallel calls (langgraph#8837). The steps are numbered as in docs/guarantees.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.errors import GraphBubbleUp
from langgraph.prebuilt import ToolRuntime
from langgraph.types import interrupt
from pydantic import BaseModel, PrivateAttr

from agents.canonical import NotCanonical, canonical, digest, problem_with, readable, storable
from agents.contracts import (
    Effect,
    EffectContext,
    Grant,
    InFlight,
    Manifest,
    OutsideARun,
    ProposedCall,
    Question,
    Receipt,
    Rerun,
    Risk,
    RunContext,
    ToolCard,
    current_run,
    executing,
)

T = TypeVar("T")
LONGEST_KEY = 200  # characters; the ledger's columns
RUNTIME = "runtime"  # the argument under which ToolNode injects the graph's state; never the model's to fill


class Ungatable(TypeError):
    """This tool cannot be put behind the gate; the text says why."""


def gated(tool: BaseTool, manifest: Manifest | None = None) -> GatedTool:
    """Put an existing LangChain tool behind the gate. Without a manifest it always asks, at risk "unknown"."""
    return tool if isinstance(tool, GatedTool) else GatedTool(tool, manifest)


def gated_tool(
    *,
    title: str,
    button: str = "",
    effect: Effect = Effect.UNKNOWN,
    reversible: bool = False,
    reach: str = "",
    risk: Risk = Risk.UNKNOWN,
    rerun: Rerun = Rerun.ONCE,
) -> Callable[[Callable[..., Awaitable[Any]]], GatedTool]:
    """Make an async function a gated tool, its manifest written above it."""
    manifest = Manifest(
        title=title, button=button, effect=effect, reversible=reversible, reach=reach, risk=risk, rerun=rerun
    )

    def wrap(function: Callable[..., Awaitable[Any]]) -> GatedTool:
        return GatedTool(StructuredTool.from_function(coroutine=function), manifest)

    return wrap


class GatedTool(BaseTool):
    """A tool that asks the ledger before each effect. The raw tool is private: nothing else can reach it."""

    _inner: BaseTool = PrivateAttr()
    _card: ToolCard = PrivateAttr()

    def __init__(self, inner: BaseTool, manifest: Manifest | None) -> None:
        schema = _schema_of(inner)
        if RUNTIME in schema.get("properties", {}):
            raise Ungatable(f"{inner.name}: an argument named {RUNTIME!r} would be replaced by LangGraph")
        super().__init__(name=inner.name, description=inner.description, args_schema=inner.args_schema)
        self._inner = inner
        self._card = ToolCard(
            name=inner.name,
            description=inner.description,
            schema=schema,
            manifest=manifest,
            version=_version_of(inner, schema, manifest),
        )

    @property
    def card(self) -> ToolCard:
        return self._card

    async def coroutine(self, runtime: ToolRuntime) -> None:
        """Never called. ToolNode reads this signature and injects the runtime, through which the call is identified."""
        raise NotImplementedError

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        run = current_run()
        call = self._propose(input, config)
        while isinstance(entered := await self._enter(run, call, config), Question):
            interrupt(tool_approval(call, entered))  # raises. Should somebody answer it, the ledger is asked again
        return self._message(input["id"], await self._receipt(run, entered))

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """The sync twin, for graphs with sync nodes: the loop does the work, this thread waits, and pauses itself."""
        run = current_run()
        call = self._propose(input, config)
        while isinstance(entered := _in_loop(run, self._enter(run, call, config)), Question):
            interrupt(tool_approval(call, entered))
        return self._message(input["id"], _in_loop(run, self._receipt(run, entered)))

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        raise Ungatable("a gated tool is called through invoke() or ainvoke(), with its call id")

    # 1 canonicalise

    def _propose(self, input: Any, config: RunnableConfig | None) -> ProposedCall:
        if not (isinstance(input, Mapping) and input.get("type") == "tool_call" and input.get("id")):
            raise Ungatable(f"{self.name} was called without a tool call id: nothing could be bound to an approval")
        arguments = dict(input["args"])
        message = _message_with(input["id"], arguments.pop(RUNTIME, None))
        text, problem = self._check(arguments)
        return ProposedCall(
            message_id=_key(message.id if message and message.id else _place_in_graph(config)),
            call_id=_key(input["id"]),
            tool=self._card,
            arguments=text,
            problem=_misnumbered(input["id"], message) or problem,
        )

    def _check(self, arguments: dict[str, Any]) -> tuple[str, str]:
        """The canonical text of the arguments and, where they can never run, why."""
        try:
            text = canonical(arguments)
        except NotCanonical as error:
            return "{}", f"The arguments cannot be shown to people faithfully: {error}."
        return text, problem_with(arguments, self._card.schema)

    # 6 execute, 7 settle

    async def _enter(
        self, run: RunContext, call: ProposedCall, config: RunnableConfig | None
    ) -> Grant | InFlight | Question | Receipt:
        """Ask the ledger, and start what it grants.

        A sibling's pause or failure ends the node, or cancels this task, at any moment: claim and effect go on in tasks
        of their own, and the drive waits for both before it ends (`at_rest`).
        """
        entering = asyncio.ensure_future(self._start(run, call, config))
        run.entering.add(entering)
        entering.add_done_callback(run.entering.discard)
        return await asyncio.shield(entering)

    async def _start(
        self, run: RunContext, call: ProposedCall, config: RunnableConfig | None
    ) -> Grant | InFlight | Question | Receipt:
        if run.ended.is_set():
            raise OutsideARun
        entered = await run.ledger.enter(call)
        if isinstance(entered, Grant):  # no await in between: whoever is told "in flight" finds the task
            run.in_flight[entered.id] = asyncio.ensure_future(self._effect(run, call, entered, config))
        return entered

    async def _receipt(self, run: RunContext, entered: Grant | InFlight | Receipt) -> Receipt:
        return entered if isinstance(entered, Receipt) else await asyncio.shield(run.in_flight[entered.id])

    async def _effect(
        self, run: RunContext, call: ProposedCall, grant: Grant, config: RunnableConfig | None
    ) -> Receipt:
        if self._card.manifest and self._card.manifest.rerun is Rerun.TRANSACTIONAL:
            return await self._transactional_effect(run, call, grant, config)
        receipt = await self._run_inner(run, call, grant, config, None)
        await run.ledger.settle(grant, receipt)
        return receipt

    async def _transactional_effect(
        self, run: RunContext, call: ProposedCall, grant: Grant, config: RunnableConfig | None
    ) -> Receipt:
        """Effect and receipt in one transaction. A failed effect is rolled back, its receipt written after it."""
        try:
            async with run.ledger.transaction(grant) as transaction:
                receipt = await self._run_inner(run, call, grant, config, transaction.connection)
                if not receipt.ok:
                    raise _RolledBack(receipt)
                await transaction.settle(receipt)
                return receipt
        except _RolledBack as failed:
            await run.ledger.settle(grant, failed.receipt)
            return failed.receipt

    async def _run_inner(
        self, run: RunContext, call: ProposedCall, grant: Grant, config: RunnableConfig | None, connection: Any
    ) -> Receipt:
        context = EffectContext(
            tenant_id=run.tenant_id,
            run_id=run.run_id,
            call_id=grant.id,
            attempt=grant.attempt,
            idempotency_key=grant.idempotency_key,
            connection=connection,
            database=run.database,
        )
        with executing(context):
            try:
                return Receipt(content=readable(await self._inner.ainvoke(dict(grant.arguments), config)))
            except ToolException as error:  # the tool's own word: it did not do it
                return Receipt(content=readable(str(error)), ok=False)
            except GraphBubbleUp:  # begun and not ended: recorded, or a later run of the call would begin again
                return Receipt(content=f"{self.name} pauses inside its effect; pause before it, not in it.", ok=False)
            except Exception as error:  # anything else a tool may raise: recorded, told to the model, never repeated
                return Receipt(content=readable(f"{type(error).__name__}: {error}"), ok=False)

    def _message(self, call_id: str, receipt: Receipt) -> ToolMessage:
        status = "success" if receipt.ok else "error"
        return ToolMessage(receipt.content, name=self.name, tool_call_id=call_id, status=status)


class _RolledBack(Exception):
    def __init__(self, receipt: Receipt) -> None:
        self.receipt = receipt


def tool_approval(call: ProposedCall, question: Question) -> Mapping[str, Any]:
    """LangChain's `tool_approval` payload, so that other clients can show what waits (they cannot answer it)."""
    return {
        "type": "tool_approval",
        "tool_call_id": call.call_id,
        "name": call.tool.name,
        "args": json.loads(call.arguments),
        "description": question.description,
        "digest": question.digest,
    }


async def at_rest(run: RunContext) -> None:
    """Return when no call of this run is being claimed or carried out. Cancelled, it leaves them to end by themselves."""
    while under_way := [task for task in (*run.entering, *run.in_flight.values()) if not task.done()]:
        await asyncio.wait(under_way)


def _in_loop(run: RunContext, work: Coroutine[Any, Any, T]) -> T:
    if _running_loop() is run.loop:  # it would wait for itself, and every run of this worker with it
        work.close()
        raise Ungatable("invoke() was called in the event loop; an async node calls ainvoke()")
    return asyncio.run_coroutine_threadsafe(work, run.loop).result()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _message_with(call_id: str, runtime: Any) -> AIMessage | None:
    """The newest model message that proposes this call. Models reuse call ids, so the message is part of its identity."""
    state = getattr(runtime, "state", None)
    messages = state if isinstance(state, list) else _field(state, "messages")
    for message in reversed(messages or ()):
        if isinstance(message, AIMessage) and any(call["id"] == call_id for call in message.tool_calls):
            return message
    return None


def _field(state: Any, name: str) -> Any:
    return state.get(name) if isinstance(state, Mapping) else getattr(state, name, None)


def _place_in_graph(config: RunnableConfig | None) -> str:
    """Where no message is at hand: the task, whose id is stable until its step is over."""
    return "task:" + str((config or {}).get("configurable", {}).get("checkpoint_ns", ""))


def _key(identifier: str) -> str:
    """An id of the model's or the graph's choosing, as the ledger can store it; a long one by its digest."""
    text = storable(identifier)
    return text if len(text) <= LONGEST_KEY else f"sha256 {digest(id=text)}"


def _misnumbered(call_id: str, message: AIMessage | None) -> str:
    if message and sum(call["id"] == call_id for call in message.tool_calls) > 1:
        return "Two calls in one message carry the same id; neither was run."
    return ""


def _schema_of(tool: BaseTool) -> dict[str, Any]:
    schema = tool.tool_call_schema
    if isinstance(schema, dict):
        return dict(schema)
    if issubclass(schema, BaseModel):
        return schema.model_json_schema()
    return dict(schema.schema())


def _version_of(tool: BaseTool, schema: Mapping[str, Any], manifest: Manifest | None) -> str:
    """Changes when what would run, or what people are told about it, changes."""
    function = getattr(tool, "coroutine", None) or getattr(tool, "func", None) or type(tool)
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):  # built in, or made at run time
        source = f"{function.__module__}.{getattr(function, '__qualname__', '')}"
    code = hashlib.sha256(source.encode(errors="replace")).hexdigest()
    told = {name: str(value) for name, value in vars(manifest).items()} if manifest else None
    return digest(name=tool.name, schema=schema, manifest=told, code=code)[:16]
