"""What the product relies on in LangGraph, asked of LangGraph itself: an upgrade that changes one of these is noticed here.

Each docstring names the file that depends on the fact. Where the checkpointer matters as such, tests/runner asks PostgreSQL.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import StructuredTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.errors import GraphBubbleUp, UnknownInterruptError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, ToolRuntime
from langgraph.types import Command, interrupt

from agents.checkpointing import SERDE
from tests.agents.gate_desk import SHAPES, calls

CONFIG: Any = {"configurable": {"thread_id": "t"}}
STRICT: Any = {"configurable": {"thread_id": "t", "__pregel_strict_resume": True}}
SAY: Any = {"messages": [HumanMessage("go", id="h1")]}
TWO = calls(("c1", "ask", {"text": "one"}), ("c2", "ask", {"text": "two"}))


class Words(TypedDict, total=False):
    note: str
    got: list[Any]


def questions(*names: str, log: list[str] | None = None, once: bool = True) -> Any:
    """A graph whose parallel nodes each ask once, or twice in one task."""
    log = [] if log is None else log
    builder = StateGraph(MessagesState)

    def asks(name: str) -> Any:
        def node(state: Any) -> dict[str, Any]:
            log.append(name)
            first = interrupt(f"{name}?")
            second = "" if once else interrupt(f"{name} again?")
            return {"messages": [AIMessage(f"{name}={first}{second}", id=name)]}

        return node

    for name in names:
        builder.add_node(name, asks(name))
        builder.add_edge(START, name)
    return builder.compile(checkpointer=InMemorySaver())


def asking_tool(log: list[str]) -> StructuredTool:
    async def ask(text: str) -> str:
        """Ask."""
        log.append(text)
        return f"{text}: {interrupt(text)}"

    return StructuredTool.from_function(coroutine=ask)


def drive(graph: Any, given: Any) -> Any:
    """Async, as the product drives."""
    return asyncio.run(graph.ainvoke(given, CONFIG))


def pending(graph: Any) -> dict[str, Any]:
    return {each.id: each.value for each in graph.get_state(CONFIG).interrupts}


def said(state: Any) -> list[str]:
    return sorted(m.content for m in state["messages"] if not isinstance(m, HumanMessage) and m.content)


def test_these_are_the_versions_the_facts_were_measured_with() -> None:
    """agents/checkpointing.py overrides a private method; runner/migrations/0001 has frozen SQL."""
    measured = {"langgraph": "1.2.", "langgraph-checkpoint": "4.3.", "langgraph-checkpoint-postgres": "3.2."}
    assert {name: version(name).startswith(prefix) for name, prefix in measured.items()} == dict.fromkeys(
        measured, True
    )


# --- waking ---------------------------------------------------------------------------------------------------------


def test_none_runs_waiting_tasks_again_delivers_nothing_and_keeps_the_ids() -> None:
    """approvals/runner/driving.py `_input`: gated calls are woken by None, and read the ledger."""
    log: list[str] = []
    graph = questions("a", "b", log=log)
    graph.invoke(SAY, CONFIG)
    before = pending(graph)
    again = graph.invoke(None, CONFIG)
    assert sorted(log) == ["a", "a", "b", "b"]
    assert pending(graph) == before
    assert sorted(each.value for each in again["__interrupt__"]) == ["a?", "b?"]
    assert said(again) == []


@pytest.mark.parametrize("by_id", [False, True])
def test_a_plain_resume_hands_the_old_answer_to_the_next_question(by_id: bool) -> None:
    """agents/gate.py, driving.py `_deliver`: answers go by id map only, decisions are never read from them (#8837)."""
    graph = questions("a", once=False)
    graph.invoke(SAY, CONFIG)
    answer: Any = {next(iter(pending(graph))): "yes"} if by_id else "yes"
    graph.invoke(Command(resume=answer), CONFIG)
    assert list(pending(graph).values()) == ["a again?"]
    end = graph.invoke(None, CONFIG)
    assert said(end) == ([] if by_id else ["a=yesyes"])
    assert list(pending(graph).values()) == (["a again?"] if by_id else [])


def test_a_partial_answer_leaves_the_others_pending_under_their_ids() -> None:
    """driving.py `run`: decided pauses are delivered one by one."""
    graph = questions("a", "b")
    graph.invoke(SAY, CONFIG)
    ids = {value: each for each, value in pending(graph).items()}
    end = graph.invoke(Command(resume={ids["a?"]: "yes"}), CONFIG)
    assert said(end) == ["a=yes"]
    assert pending(graph) == {ids["b?"]: "b?"}


def test_strict_resume_refuses_ids_that_are_not_pending() -> None:
    """driving.py sets `__pregel_strict_resume`; without it an unknown id is ignored in silence (#8836)."""
    graph = questions("a")
    graph.invoke(SAY, CONFIG)
    unknown = {"0" * 32: "yes"}
    with pytest.raises(UnknownInterruptError) as refused:
        graph.invoke(Command(resume=unknown), STRICT)
    assert refused.value.reason == "not_pending"
    before = pending(graph)
    graph.invoke(Command(resume=unknown), CONFIG)
    assert pending(graph) == before


def test_new_input_on_a_paused_thread_discards_what_it_asks() -> None:
    """runner/outcomes.py `begin_turn`: the next run waits behind one that waits for people."""
    graph = questions("a")
    graph.invoke(SAY, CONFIG)
    before = pending(graph)
    graph.invoke({"messages": [HumanMessage("more", id="h2")]}, CONFIG)
    assert not set(before) & set(pending(graph))


def test_a_node_runs_again_from_its_start() -> None:
    """agents/gate.py: what stands before the claim runs many times; the ledger makes it count once."""
    log: list[str] = []
    graph = questions("a", log=log)
    graph.invoke(SAY, CONFIG)
    graph.invoke(None, CONFIG)
    graph.invoke(Command(resume={next(iter(pending(graph))): "yes"}), CONFIG)
    assert log == ["a"] * 3


def test_an_update_beside_the_answer_is_there_before_the_asking_node_runs_again() -> None:
    """driving.py `_deliver`: a state edit travels with the answer."""

    def asks(state: Words) -> Words:
        return {"got": [interrupt(state["note"]), state["note"]]}

    builder = StateGraph(Words)
    builder.add_node("asks", asks)
    builder.add_edge(START, "asks")
    graph = builder.compile(checkpointer=InMemorySaver())
    graph.invoke({"note": "as shown"}, CONFIG)
    end = graph.invoke(Command(resume={next(iter(pending(graph))): "yes"}, update={"note": "edited"}), CONFIG)
    assert end["got"] == ["yes", "edited"]


def test_an_update_alone_keeps_the_id_of_a_question_that_has_changed() -> None:
    """driving.py `_asks`: an id does not say what was asked, so the payload is compared too."""

    def asks(state: Words) -> Words:
        return {"got": [interrupt(state["note"])]}

    builder = StateGraph(Words)
    builder.add_node("asks", asks)
    builder.add_edge(START, "asks")
    graph = builder.compile(checkpointer=InMemorySaver())
    graph.invoke({"note": "one"}, CONFIG)
    [before] = pending(graph)
    graph.invoke(Command(update={"note": "two"}), CONFIG)
    assert pending(graph) == {before: "two"}


def test_an_interrupt_is_an_exception_that_a_graph_can_swallow() -> None:
    """agents/gate.py `_run_inner` catches GraphBubbleUp before Exception; docs/guarantees.md: such a pause is lost."""
    assert issubclass(GraphBubbleUp, Exception)


# --- what a stream shows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["tool node", "create_agent", "subgraph"])
def test_the_outermost_part_has_every_interrupt_and_inner_parts_repeat_them(shape: str) -> None:
    """driving.py `_note_interrupts` reads parts with an empty namespace only."""
    graph = SHAPES[shape]([asking_tool([])], [TWO], InMemorySaver())

    async def parts() -> list[Any]:
        streaming = graph.astream(
            SAY, CONFIG, stream_mode=["messages", "updates"], version="v2", durability="sync", subgraphs=True
        )
        return [part async for part in streaming if part["type"] == "updates" and "__interrupt__" in part["data"]]

    found: dict[bool, set[str]] = {True: set(), False: set()}
    for part in asyncio.run(parts()):
        assert isinstance(part["ns"], tuple)
        found[part["ns"] == ()] |= {each.id for each in part["data"]["__interrupt__"]}
    assert found[True] == set(pending(graph))
    assert found[False] <= found[True]
    assert bool(found[False]) is (shape == "subgraph")


def test_a_breakpoint_is_an_empty_interrupt() -> None:
    """driving.py `_note_interrupts`, `_hand_on`: paused, although nothing is asked."""
    builder = StateGraph(MessagesState)
    builder.add_node("a", lambda state: {})
    builder.add_edge(START, "a")
    graph: Any = builder.compile(checkpointer=InMemorySaver(), interrupt_before=["a"])
    raised = list(graph.stream(SAY, CONFIG, stream_mode=["updates"], version="v2"))
    assert [part["data"] for part in raised] == [{"__interrupt__": ()}]


# --- tools ----------------------------------------------------------------------------------------------------------


def test_a_tool_node_is_one_task_with_one_visible_interrupt() -> None:
    """runner/outcomes.py `suspend`: what is asked comes from the ledger, for LangGraph shows one of two."""
    log: list[str] = []
    graph = SHAPES["tool node"]([asking_tool(log)], [TWO], InMemorySaver())
    drive(graph, SAY)
    assert sorted(log) == ["one", "two"]
    assert len(pending(graph)) == len(graph.get_state(CONFIG).tasks) == 1


def test_create_agent_runs_a_task_for_each_call() -> None:
    """agents/gate.py: so each pause is its own, and a finished sibling does not run again."""
    log: list[str] = []
    graph = SHAPES["create_agent"]([asking_tool(log)], [TWO], InMemorySaver())
    drive(graph, SAY)
    assert sorted(pending(graph).values()) == ["one", "two"]
    assert len(graph.get_state(CONFIG).tasks) == 2


def test_in_a_tool_node_the_answer_to_one_call_reaches_the_other() -> None:
    """agents/gate.py: why a decision is never read from a resume value."""
    graph = SHAPES["tool node"]([asking_tool([])], [TWO], InMemorySaver())
    drive(graph, SAY)
    drive(graph, Command(resume="for one"))
    end = drive(graph, None)
    answered = [m.content for m in end["messages"] if isinstance(m, ToolMessage)]
    assert answered == ["one: for one", "two: for one"]


def test_in_a_tool_node_a_siblings_pause_does_not_wait_for_the_others() -> None:
    """agents/gate.py `at_rest`: the node ends while a claim or an effect is under way, so the drive has to wait."""
    ended: list[str] = []
    left: list[asyncio.Task[Any]] = []

    @tool
    async def slow() -> str:
        """Slow."""
        left.append(asyncio.current_task())  # type: ignore[arg-type]
        await go_on.wait()
        ended.append("slow")
        return "done"

    @tool
    async def pauses() -> str:
        """Pause."""
        return str(interrupt("?"))

    async def drive() -> None:
        nonlocal go_on
        go_on = asyncio.Event()
        both = calls(("c1", "slow", {}), ("c2", "pauses", {}))
        await SHAPES["tool node"]([slow, pauses], [both], InMemorySaver()).ainvoke(SAY, CONFIG)
        assert ended == []
        go_on.set()
        await asyncio.gather(*left, return_exceptions=True)

    go_on = asyncio.Event()
    asyncio.run(drive())


class Probe(StructuredTool):
    """A tool whose `coroutine` signature asks for the runtime, as GatedTool's does, and whose schema does not."""

    seen: list[Any] = []

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        self.seen.append(input)
        return ToolMessage("ok", tool_call_id=input["id"])


def test_a_tool_node_injects_the_runtime_by_the_coroutines_signature_and_strips_a_forged_one() -> None:
    """agents/gate.py `coroutine`, `_propose`: the only way to the message that a call belongs to."""

    def plain(text: str) -> str:
        return text

    async def coroutine(runtime: ToolRuntime) -> None: ...

    probe = Probe(
        name="probe",
        description="Probe.",
        args_schema=StructuredTool.from_function(plain, description="x").args_schema,
        coroutine=coroutine,
    )
    forged = calls(("c1", "probe", {"text": "a", "runtime": {"state": "forged"}}))
    asyncio.run(SHAPES["tool node"]([probe], [forged], InMemorySaver()).ainvoke(SAY, CONFIG))
    [given] = probe.seen
    assert (given["type"], given["id"], given["args"]["text"]) == ("tool_call", "c1", "a")
    runtime = given["args"]["runtime"]
    assert isinstance(runtime, ToolRuntime)
    assert runtime.state["messages"][-1].id == "m1"


def test_create_agent_gives_the_whole_state_to_each_call() -> None:
    """agents/gate.py `_message_with` finds the proposing message there, though each call is a task of its own."""
    seen: list[Any] = []

    async def look(text: str, runtime: ToolRuntime) -> str:
        """Look."""
        seen.append([m.id for m in runtime.state["messages"] if isinstance(m, AIMessage)])
        return text

    probe = StructuredTool.from_function(coroutine=look)
    both = calls(("c1", "look", {"text": "a"}), ("c2", "look", {"text": "b"}))
    asyncio.run(SHAPES["create_agent"]([probe], [both], InMemorySaver()).ainvoke(SAY, CONFIG))
    assert seen == [["m1"], ["m1"]]


def test_an_unknown_tool_is_told_and_nothing_runs() -> None:
    """agents/gate.py sees only calls of tools that a node has."""
    end = drive(SHAPES["tool node"]([asking_tool([])], [calls(("c1", "nope", {}))], InMemorySaver()), SAY)
    assert [m.status for m in end["messages"] if isinstance(m, ToolMessage)] == ["error"]


def test_a_tool_node_shows_its_tools() -> None:
    """agents/registry.py `_tools_in` looks at them before a graph may run."""
    graph = SHAPES["create_agent"]([asking_tool([])], [], None)
    nodes = [node.bound for node in graph.nodes.values() if isinstance(node.bound, ToolNode)]
    assert [list(node.tools_by_name) for node in nodes] == [["ask"]]


# --- what is stored -------------------------------------------------------------------------------------------------


def test_metadata_is_kept_with_the_checkpoint_and_private_keys_are_not() -> None:
    """driving.py `_has_begun` reads `gatehouse_run` there; secrets would be readable there too."""
    saver = InMemorySaver()
    builder = StateGraph(MessagesState)
    builder.add_node("a", lambda state: {})
    builder.add_edge(START, "a")
    graph: Any = builder.compile(checkpointer=saver)
    graph.invoke(SAY, {**STRICT, "metadata": {"gatehouse_run": "r1", "__mine": "x"}})
    newest = saver.get_tuple(CONFIG)
    assert newest is not None
    assert newest.metadata["gatehouse_run"] == "r1"  # type: ignore[typeddict-item]
    assert not [key for key in newest.metadata if key.startswith("__")]


def test_strict_msgpack_loads_no_foreign_type() -> None:
    """agents/checkpointing.py SERDE: whoever can write a checkpoint row would otherwise run code in the worker."""
    stored = JsonPlusSerializer().dumps_typed({"message": HumanMessage("hi"), "foreign": Foreign()})
    loose = JsonPlusSerializer(allowed_msgpack_modules=True).loads_typed(stored)
    strict = SERDE.loads_typed(stored)
    assert isinstance(loose["foreign"], Foreign)  # made by a call that the stored bytes name
    assert isinstance(strict["message"], HumanMessage)
    assert strict["foreign"] == {"text": "mine"}


@dataclass
class Foreign:
    text: str = "mine"


@pytest.mark.parametrize(
    "value", [2**64, -(2**63) - 1, object(), lambda: 1], ids=["2**64", "-2**63-1", "object", "lambda"]
)
def test_what_cannot_be_stored_raises(value: Any) -> None:
    """agents/canonical.py refuses more than this, so that arguments never come here."""
    with pytest.raises(TypeError):
        SERDE.dumps_typed({"value": value})


@pytest.mark.parametrize("value", [math.inf, "a\x00b", 2**53, "x" * 100_000], ids=["inf", "NUL", "2**53", "long"])
def test_what_is_stored_faithfully(value: Any) -> None:
    assert SERDE.loads_typed(SERDE.dumps_typed({"value": value})) == {"value": value}


def test_a_lone_surrogate_is_stored_as_a_question_mark() -> None:
    """agents/canonical.py `storable` writes it out before: what people see is what is stored."""
    assert SERDE.loads_typed(SERDE.dumps_typed({"value": "a\ud800"})) == {"value": "a?"}
