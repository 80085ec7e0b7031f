"""The newsroom: one pause, an honest answer to whatever an editor says, and the edited draft is what is published."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from agents.graphs import newsroom
from agents.graphs.introductions import INTRODUCTIONS, Introduction


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEHOUSE_DEMO_DELAY_MS", "0")


class Newsroom:
    def __init__(self) -> None:
        self.graph = newsroom.graph.copy(update={"checkpointer": InMemorySaver()})
        self.config: Any = {"configurable": {"thread_id": "t"}}

    def drive(self, given: Any) -> dict[str, Any]:
        state: dict[str, Any] = asyncio.run(self.graph.ainvoke(given, self.config, durability="sync"))
        return state

    def ask(self, text: str) -> Any:
        (waiting,) = self.drive({"messages": [("user", text)]})["__interrupt__"]
        return waiting

    def answer(self, waiting: Any, answer: Any, **edit: Any) -> str:
        state = self.drive(Command(resume={waiting.id: answer}, update=edit or None))
        assert "__interrupt__" not in state
        return str(state["messages"][-1].content)


def test_it_asks_once_and_shows_what_would_be_published() -> None:
    waiting = Newsroom().ask("Write about the new repair service in our Berlin shop.")
    assert waiting.value["question"]
    assert waiting.value["choices"] == ["publish", "drop"]
    assert waiting.value["headline"] == "The new repair service in our Berlin shop"
    assert "an item about the new repair service" in waiting.value["draft"]
    jsonschema.Draft202012Validator.check_schema(waiting.response_schema)
    jsonschema.validate({"choice": "publish", "note": "Well done"}, waiting.response_schema)


def test_publish_says_the_whole_text() -> None:
    room = Newsroom()
    waiting = room.ask("Write about boots")
    told = room.answer(waiting, {"choice": "publish", "note": "Well done"})
    assert told.startswith("Published:\n\n**Boots**\n\n")
    assert waiting.value["draft"] in told
    assert told.endswith("The editor's note: Well done")


def test_what_a_person_edited_is_what_is_published() -> None:
    room = Newsroom()
    waiting = room.ask("Write about boots")
    told = room.answer(waiting, {"choice": "publish"}, draft="Edited by hand.", headline="New boots")
    assert told == "Published:\n\n**New boots**\n\nEdited by hand."


def test_drop_publishes_nothing() -> None:
    room = Newsroom()
    waiting = room.ask("Write about boots")
    told = room.answer(waiting, {"choice": "drop", "note": "Old news"})
    assert told == "Dropped, nothing was published: Boots\n\nThe editor's note: Old news"


@pytest.mark.parametrize(
    "answer",
    ["publish", {"choice": "PUBLISH"}, {}, [], 0, {"choice": ["publish"]}, {"choice": {}}, "\x00", "x" * 100_000],
)
def test_an_answer_that_is_no_clear_publish_publishes_nothing_and_does_not_fail(answer: Any) -> None:
    room = Newsroom()
    told = room.answer(room.ask("Write about boots"), answer)
    assert told.startswith("Dropped, nothing was published")
    assert "\x00" not in told
    assert len(told) < 1000


@pytest.mark.parametrize("edit", [None, 7, ["x"], "a\x00b", "x" * 100_000])
def test_an_odd_edit_does_not_fail_either(edit: Any) -> None:
    room = Newsroom()
    told = room.answer(room.ask("Write about boots"), {"choice": "publish"}, draft=edit)
    assert told.startswith("Published:")
    assert "\x00" not in told
    assert len(told) < 21_000


@pytest.mark.parametrize("text", ["", "\x00\ud800", "x" * 100_000, "\n\n\n", "write an article about"])
def test_any_topic_gives_a_headline_and_a_draft_that_can_be_stored(text: str) -> None:
    waiting = Newsroom().ask(text)
    for value in (waiting.value["headline"], waiting.value["draft"]):
        assert value
        assert "\x00" not in value
        assert value.encode()
        assert len(value) < 4096


def test_a_second_item_is_asked_about_anew() -> None:
    room = Newsroom()
    room.answer(room.ask("Write about boots"), {"choice": "publish", "note": "First"})
    waiting = room.ask("Write about tents")
    assert waiting.value["headline"] == "Tents"
    assert "First" not in room.answer(waiting, {"choice": "publish"})


@pytest.mark.parametrize("agent", INTRODUCTIONS, ids=lambda agent: agent.name)
def test_an_introduction_names_a_graph_and_fits_its_columns(agent: Introduction) -> None:
    graphs = json.loads((Path(newsroom.__file__).parents[2] / "langgraph.json").read_text())["graphs"]
    assert agent.graph_id in graphs
    assert len(agent.name) <= 80
    assert len(agent.description) <= 200
    assert agent.starters
