"""langgraph.json -> graphs: loaded once, versioned by content, each with what people must know before it runs.

A graph that does not load keeps its place with the reason, and does not stop the others.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from langchain_core.runnables import RunnableBinding, RunnableSequence
from langchain_core.tools import BaseTool
from langgraph.graph.state import CompiledStateGraph, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.pregel import Pregel

from agents.contracts import ToolCard
from agents.gate import GatedTool


class Unloadable(Exception):
    """This graph cannot be used; the text says why."""


@dataclass(frozen=True, kw_only=True)
class RegisteredGraph:
    id: str
    graph: Any = None  # a compiled graph without a checkpointer
    version: str = ""
    tools: Mapping[str, ToolCard] = field(default_factory=dict)
    problem: str = ""


def load(config: Path) -> dict[str, RegisteredGraph]:
    """Every graph that the langgraph.json names, also those that do not load."""
    named: dict[str, str] = json.loads(config.read_text())["graphs"]
    return {graph_id: _load_one(graph_id, place, config.parent) for graph_id, place in named.items()}


def _load_one(graph_id: str, place: str, folder: Path) -> RegisteredGraph:
    try:
        graph, source = _import(place, folder)
        tools = {tool.name: tool.card for tool in _tools_in(graph)}
        _refuse_provider_tools(graph)
    except Exception as error:  # somebody else's code: whatever it raises is the reason
        return RegisteredGraph(id=graph_id, problem=f"{type(error).__name__}: {error}")
    return RegisteredGraph(id=graph_id, graph=graph, version=_version(source, tools), tools=tools)


def _import(place: str, folder: Path) -> tuple[Pregel[Any, Any, Any, Any], str]:
    path, _, name = place.partition(":")
    module = _module(folder / path, folder)
    if not hasattr(module, name):
        raise Unloadable(f"{path} has no {name!r}")
    return _compiled(getattr(module, name)), inspect.getsource(module)


def _module(file: Path, folder: Path) -> ModuleType:
    """The module under its dotted name where it is inside `folder`, so that it is imported only once."""
    dotted = ".".join(file.resolve().relative_to(folder.resolve()).with_suffix("").parts)
    if dotted in sys.modules:
        return sys.modules[dotted]
    spec = importlib.util.spec_from_file_location(dotted, file)
    if spec is None or spec.loader is None or not file.exists():
        raise Unloadable(f"there is no file {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[dotted] = module
    spec.loader.exec_module(module)
    return module


def _compiled(found: Any) -> Pregel[Any, Any, Any, Any]:
    """A graph, a builder, or a factory (sync or async) of either."""
    if callable(found) and not isinstance(found, Pregel):
        found = found({}) if inspect.signature(found).parameters else found()
    if inspect.isawaitable(found):
        found = asyncio.run(_awaited(found))
    if isinstance(found, StateGraph):
        found = found.compile()
    if not isinstance(found, Pregel):
        raise Unloadable(f"a {type(found).__name__} is not a graph")
    return found


async def _awaited(found: Any) -> Any:
    return await found


def _tools_in(graph: Pregel[Any, Any, Any, Any]) -> Iterator[GatedTool]:
    """Every tool a node of this graph, or of a graph inside it, can call. One that is not gated makes it unusable."""
    for name, node in graph.nodes.items():
        bound = node.bound
        if isinstance(bound, ToolNode):
            yield from (_gated(tool, name) for tool in bound.tools_by_name.values())
        for inner in node.subgraphs or ():
            if isinstance(inner, CompiledStateGraph):
                yield from _tools_in(inner)


def _gated(tool: BaseTool, node: str) -> GatedTool:
    if not isinstance(tool, GatedTool):
        raise Unloadable(f"the tool {tool.name!r} in node {node!r} is not gated; wrap it with agents.gate.gated()")
    return tool


def _refuse_provider_tools(graph: Pregel[Any, Any, Any, Any]) -> None:
    """Refuse tools that the model's provider executes: no call of theirs ever comes to the gate.

    Seen are those given to `create_agent` and those bound to a model that a node's function names. What a middleware or
    a function adds while the graph runs cannot be seen here (docs/guarantees.md).
    """
    for name, node in graph.nodes.items():
        for value in _named_by(node.bound):
            for tool in _declared_in(value):
                if not _is_for_us(tool):
                    kind = tool.get("type") or ", ".join(map(str, tool))
                    raise Unloadable(f"node {name!r} gives its model the tool {kind!r}, which the provider executes")
        for inner in node.subgraphs or ():
            if isinstance(inner, Pregel):
                _refuse_provider_tools(inner)


def _named_by(bound: Any) -> Iterator[Any]:
    """What a node is, and the closures and globals that its function uses."""
    yield bound
    for named in (getattr(bound, "func", None), getattr(bound, "afunc", None)):
        function = inspect.unwrap(getattr(named, "__func__", named)) if callable(named) else None
        if inspect.isfunction(function):
            names = inspect.getclosurevars(function)
            yield from names.nonlocals.values()
            yield from names.globals.values()


def _declared_in(value: Any) -> Iterator[Mapping[str, Any]]:
    """Tools written as plain dicts: in a list (that of create_agent), or bound to a model."""
    while isinstance(value, RunnableBinding | RunnableSequence):
        if isinstance(value, RunnableBinding):
            yield from _declared_in(value.kwargs.get("tools"))
            value = value.bound
        else:
            for step in value.steps:
                yield from _declared_in(step)
            return
    if isinstance(value, list | tuple):
        yield from (each for each in value if isinstance(each, dict) and _names_a_tool(each))


def _names_a_tool(found: Mapping[str, Any]) -> bool:
    return "type" in found or any(isinstance(inner, dict) for inner in found.values())


def _is_for_us(tool: Mapping[str, Any]) -> bool:
    """A function that the provider only proposes: OpenAI's form, Anthropic's, or a bare schema."""
    if "type" in tool:
        return tool["type"] in ("function", "custom")
    return "input_schema" in tool or "parameters" in tool or "function_declarations" in tool


def _version(source: str, tools: Mapping[str, ToolCard]) -> str:
    parts = [source, *(tools[name].version for name in sorted(tools))]
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:16]
