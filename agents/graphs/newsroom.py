"""The newsroom: a draft, one question to an editor, and what became of it.

The pause is a free-form `interrupt()`, which the graph's own code honours; no tool is involved, so no gate either.
Publishing happens in the state alone. The editor may change `headline` and `draft` in the state while the graph waits
(`Command(update={"draft": ...})`): they are read after the pause, so what was changed is what is published.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, SystemMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, interrupt

from agents.models.chosen import chosen_model
from agents.models.newsroom_script import newsroom
from agents.models.prose import brief, clean

INSTRUCTIONS = """\
You write short news items for a company's website. Answer with the headline on the first line, an empty line, and the \
text: at most 150 words, no facts that you were not given, nothing else."""
LONGEST_DRAFT = 20_000  # characters

# What an answer looks like. LangGraph publishes a plain schema without enforcing it; `review` is careful by itself.
ANSWER = {
    "title": "Editor's answer",
    "type": "object",
    "properties": {
        "choice": {"title": "Choice", "enum": ["publish", "drop"]},
        "note": {"title": "Note", "type": "string", "maxLength": 2000, "description": "Shown in the chat."},
    },
    "required": ["choice"],
    "additionalProperties": False,
}


class Answer(TypedDict):
    choice: str
    note: str


class NewsroomState(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    headline: str
    draft: str
    answer: Answer


model = chosen_model(newsroom)


async def write(state: NewsroomState) -> NewsroomState:
    """Have the model write about what the newest message asks for."""
    message = await model.ainvoke([SystemMessage(INSTRUCTIONS), *state["messages"]])
    headline, _, text = clean(message.text).strip().partition("\n")
    return {
        "messages": [message],
        "headline": brief(headline.strip("*# "), 200),
        "draft": text.strip()[:LONGEST_DRAFT],
    }


def review(state: NewsroomState) -> Command[Literal["publish", "drop"]]:
    """Ask an editor. Whatever is no clear "publish" publishes nothing, and never fails: by then it is stored."""
    given = interrupt(
        {
            "question": "Publish this item?",
            "choices": ["publish", "drop"],
            "headline": state.get("headline", ""),
            "draft": state.get("draft", ""),
        },
        response_schema=ANSWER,
    )
    answer = _answer(given)
    return Command(goto="publish" if answer["choice"] == "publish" else "drop", update={"answer": answer})


def _answer(given: Any) -> Answer:
    if not isinstance(given, dict) or given.get("choice") not in ("publish", "drop"):
        return {"choice": "drop", "note": f"The answer was neither “publish” nor “drop” but: {brief(given, 200)}"}
    return {"choice": given["choice"], "note": brief(given.get("note") or "", 2000)}


def publish(state: NewsroomState) -> NewsroomState:
    text = clean(state.get("draft", ""))[:LONGEST_DRAFT]
    return {"messages": [AIMessage(f"Published:\n\n**{_headline(state)}**\n\n{text}{_note(state)}")]}


def drop(state: NewsroomState) -> NewsroomState:
    return {"messages": [AIMessage(f"Dropped, nothing was published: {_headline(state)}{_note(state)}")]}


def _headline(state: NewsroomState) -> str:
    return brief(state.get("headline", ""), 200) or "Untitled"


def _note(state: NewsroomState) -> str:
    note = state["answer"]["note"]
    return f"\n\nThe editor's note: {note}" if note else ""


builder = StateGraph(NewsroomState)
builder.add_node("write", write)
builder.add_node("review", review)
builder.add_node("publish", publish)
builder.add_node("drop", drop)
builder.add_edge(START, "write")
builder.add_edge("write", "review")
builder.add_edge("publish", END)
builder.add_edge("drop", END)
graph = builder.compile(name="newsroom")
