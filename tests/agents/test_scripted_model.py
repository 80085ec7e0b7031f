"""The demo model: streams like a real one, says the same twice, tells the truth about results, never fails."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage

from agents.models.chosen import ModelUnavailable, chosen_model
from agents.models.desk_script import ABILITIES, support_desk
from agents.models.newsroom_script import newsroom
from agents.models.scripted import LABEL, Line, ScriptedChatModel
from agents.models.wishes import Verb, wishes
from agents.tools.shop import TOOLS

ALL_TOOLS = frozenset(tool.name for tool in TOOLS)
ORDER = {
    "order_number": 1041,
    "status": "delivered",
    "customer": {"name": "Zoë Brandt", "email": "zoe.brandt@example.com"},
    "items": [{"name": "Two-person tent", "price": "420.00", "quantity": 1}],
    "total": 420.0,
    "refunded": 0.0,
    "left_to_refund": 420.0,
    "currency": "USD",
    "placed_on": "2026-05-10",
    "address": "Lindenstraße 18, 10969 Berlin, Germany",
}


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEHOUSE_DEMO_DELAY_MS", "0")
    monkeypatch.delenv("GATEHOUSE_MODEL", raising=False)


def desk(*messages: BaseMessage | str, tools: frozenset[str] = ALL_TOOLS) -> Line:
    return support_desk([HumanMessage(each) if isinstance(each, str) else each for each in messages], tools)


def called(line: Line) -> list[tuple[str, dict[str, Any]]]:
    return [(call.tool, dict(call.arguments)) for call in line.calls]


def proposed(line: Line, prefix: str = "c") -> AIMessage:
    calls = [
        {"name": call.tool, "args": dict(call.arguments), "id": f"{prefix}{n}"} for n, call in enumerate(line.calls)
    ]
    return AIMessage(line.text, tool_calls=calls)


def result(content: str, call_id: str, status: str = "success") -> ToolMessage:
    return ToolMessage(content, tool_call_id=call_id, status=status)


def order(number: int = 1041, **changes: Any) -> str:
    return json.dumps({**ORDER, "order_number": number, **changes})


def chunks_of(model: Any, messages: Sequence[BaseMessage]) -> list[AIMessageChunk]:
    async def collect() -> list[AIMessageChunk]:
        return [chunk async for chunk in model.astream(list(messages))]

    return asyncio.run(collect())


def desk_model() -> Any:
    return chosen_model(support_desk).bind_tools(list(TOOLS))


# What a message asks for


@pytest.mark.parametrize(
    ("text", "orders", "amount"),
    [
        ("refund orders 1041 and 1042", (1041, 1042), None),
        ("Please refund 1041, 1042 and 1043!", (1041, 1042, 1043), None),
        ("refund 20 on order 1041", (1041,), 20.0),
        ("refund 1200 on order 1041", (1041,), 1200.0),
        ("Can you refund $1,234.50 of order #1041?", (1041,), 1234.5),
        ("I'd like a refund on order 1041, only 12 dollars", (1041,), 12.0),
        ("refund order 1041, 20 dollars", (1041,), 20.0),
        ("refund order 1041 because I waited 30 days", (1041,), None),
    ],
)
def test_it_reads_refunds(text: str, orders: tuple[int, ...], amount: float | None) -> None:
    (wish,) = wishes(text)
    assert (wish.verb, wish.orders, wish.amount, wish.vague) == (Verb.REFUND, orders, amount, False)


@pytest.mark.parametrize("text", ["refund half of order 1041", "refund 50% of order 1041", "refund -5 on order 1041"])
def test_it_guesses_no_amount(text: str) -> None:
    line = desk(text)
    assert line.calls == ()
    assert "Which amount" in line.text


def test_it_reads_several_wishes_and_what_it_means() -> None:
    found = wishes("Look up order 1041, refund it and email the customer: sorry, please do not cancel order 1050")
    assert [(wish.verb, wish.orders) for wish in found] == [
        (Verb.SHOW, (1041,)),
        (Verb.REFUND, (1041,)),
        (Verb.EMAIL, (1041,)),
    ]
    assert wishes("refund it", earlier=["show order 1041", "thanks"])[0].orders == (1041,)


def test_it_does_not_do_what_it_is_told_not_to_do() -> None:
    assert wishes("do not refund order 1041") == ()
    assert [wish.verb for wish in wishes("don't refund order 1041, cancel it")] == [Verb.CANCEL]
    assert [wish.verb for wish in wishes("cancel order 1043 because the customer wants a refund")] == [Verb.CANCEL]


# What it calls


def test_a_refund_looks_all_orders_up_in_parallel_then_refunds_in_one_message() -> None:
    asked = HumanMessage("Refund orders 1041 and 1042")
    first = desk(asked)
    assert called(first) == [("look_up_order", {"order_number": 1041}), ("look_up_order", {"order_number": 1042})]
    assert "1041 and 1042" in first.text
    found = [result(order(1041), "c0"), result(order(1042, total=89.9, left_to_refund=89.9), "c1")]
    second = desk(asked, proposed(first), *found)
    assert [(name, args["order_number"], args["amount"]) for name, args in called(second)] == [
        ("issue_refund", 1041, 420.0),
        ("issue_refund", 1042, 89.9),
    ]


@pytest.mark.parametrize(
    ("text", "tool", "arguments"),
    [
        ("cancel order 1043", "cancel_order", {"order_number": 1043}),
        ("change the address of order 1044 to 5 Main St, Bonn", "change_address", {"address": "5 Main St, Bonn"}),
        ("email a@b.example saying the parcel is late", "send_email", {"to": "a@b.example"}),
        ("show order 1041", "look_up_order", {"order_number": 1041}),
        ("find cancelled orders with a tent", "search_orders", {"query": "tent", "status": "cancelled"}),
    ],
)
def test_it_calls_the_tool_for_it(text: str, tool: str, arguments: dict[str, Any]) -> None:
    ((name, given_arguments),) = called(desk(text))
    assert name == tool
    assert given_arguments.items() >= arguments.items()


def test_every_call_fits_its_schema() -> None:
    schemas = {tool.name: tool.card.schema for tool in TOOLS}
    request = "cancel order 1043 and refund $5 on order 1041 and email the customer of order 1041 about the delay"
    first = desk(request)
    second = desk(request, proposed(first), *(result(order(1041), f"c{n}") for n in range(len(first.calls))))
    assert {call.tool for call in second.calls} == {"cancel_order", "issue_refund", "send_email"}
    for call in (*first.calls, *second.calls):
        assert set(schemas[call.tool]["required"]) <= call.arguments.keys() <= schemas[call.tool]["properties"].keys()


def test_without_the_tool_it_says_so() -> None:
    line = desk("cancel order 1043", tools=frozenset({"look_up_order"}))
    assert (line.calls, line.text) == ((), "I have no tool for that here: cancel_order.")


@pytest.mark.parametrize("text", ["", "hi", "What can you do?", "Write me a poem", "\x00", "\ud800"])
def test_it_answers_anything_else_with_what_it_can_do(text: str) -> None:
    assert desk(text) == Line(ABILITIES)
    assert LABEL in ABILITIES


# What it says about results


def after_refund(content: str, status: str) -> str:
    asked = HumanMessage("Refund $20 on order 1041")
    first = proposed(desk(asked), "a")
    second = desk(asked, first, result(order(), "a0"))
    last = desk(asked, first, result(order(), "a0"), proposed(second, "b"), result(content, "b0", status))
    assert last.calls == ()
    return last.text


def test_it_says_what_was_done() -> None:
    assert after_refund("Refunded $20.00 on order 1041.", "success") == "Refunded $20.00 on order 1041."


def test_it_says_what_was_rejected_and_why() -> None:
    told = after_refund("Rejected by Rosa Reviewer: the parcel arrived on time.", "error")
    assert told == "Refund on order 1041, not done: Rejected by Rosa Reviewer: the parcel arrived on time."


def test_it_does_not_call_an_answer_of_a_person_a_refund() -> None:
    told = after_refund("Answered by a person: the customer took a voucher instead.", "success")
    assert told == "Refund on order 1041: Answered by a person: the customer took a voucher instead."


def test_nothing_to_refund_is_said_and_nothing_is_called() -> None:
    asked = HumanMessage("Refund orders 1041 and 77")
    found = [result(order(left_to_refund=0.0, refunded=420.0), "c0"), result("There is no order 77.", "c1", "error")]
    line = desk(asked, proposed(desk(asked)), *found)
    assert line.calls == ()
    assert "nothing left to refund" in line.text
    assert "no order 77" in line.text
    assert "nothing was changed" in line.text


def test_a_call_without_a_result_is_no_success() -> None:
    line = desk("cancel order 1043", proposed(desk("cancel order 1043")))
    assert "told nothing" in line.text
    assert line.calls == ()


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        "null",
        "1",
        '{"order_number": 1041}',
        "[" * 5000,
        order(total="x"),
        order(left_to_refund=float("inf")),
    ],
)
def test_a_look_up_answered_with_anything_leads_to_no_refund(content: str) -> None:
    asked = HumanMessage("Refund order 1041")
    assert desk(asked, proposed(desk(asked)), result(content, "c0")).calls == ()


# Hostile input


@pytest.mark.parametrize(
    "text",
    [
        "refund \x00 order 1041 \ud800",
        "<script>alert(1)</script> refund order 1041" * 3000,
        "refund order " + "1, " * 50_000,
        "a" * 100_000,
        "email " + "a." * 50_000 + "@",
        "Refund order 99999999999999999999999",
        "refund order १०४१",
        "{order_number} {0} %s refund {amount} order 1041",
    ],
)
def test_hostile_text_neither_fails_nor_lingers(text: str) -> None:
    asked = HumanMessage(text)
    first = desk(asked)
    last = desk(asked, proposed(first), *(result(text, f"c{n}", "error") for n in range(len(first.calls))))
    for line in (first, last):
        assert len(line.calls) <= 10
        json.dumps([line.text, called(line)], ensure_ascii=False).encode()  # no lone surrogate is left
        assert "\x00" not in line.text
        assert len(line.text) < 10_000


@settings(max_examples=150, deadline=None, database=None)
@given(st.text(st.characters()), st.text(st.characters()))
def test_any_text_is_answered(text: str, content: str) -> None:
    asked = HumanMessage(f"refund order 1041 {text}")
    first = desk(asked)
    last = desk(asked, proposed(first), *(result(content, f"c{n}") for n in range(len(first.calls))))
    for line in (first, last, newsroom([asked], frozenset())):
        assert line.text.encode()
        json.dumps(called(line), ensure_ascii=False).encode()


# Streaming


def test_it_streams_text_then_calls_in_pieces() -> None:
    chunks = chunks_of(desk_model(), [HumanMessage("Refund orders 1041 and 1042", id="m1")])
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].id
    assert [chunk.chunk_position for chunk in chunks] == [None] * (len(chunks) - 1) + ["last"]
    texts = [index for index, chunk in enumerate(chunks) if chunk.content]
    calls = [index for index, chunk in enumerate(chunks) if chunk.tool_call_chunks]
    assert max(texts) < min(calls)
    assert len(texts) > 3
    pieces = [chunk.tool_call_chunks[0] for chunk in chunks if chunk.tool_call_chunks]
    assert [(piece["index"], piece["name"]) for piece in pieces if piece["id"]] == [
        (0, "look_up_order"),
        (1, "look_up_order"),
    ]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    assert [call["args"] for call in whole.tool_calls] == [{"order_number": 1041}, {"order_number": 1042}]
    assert whole.response_metadata["model_name"] == LABEL


def test_streamed_and_whole_are_the_same_and_a_rerun_says_the_same() -> None:
    asked = [HumanMessage("Refund orders 1041 and 1042", id="m1")]
    model = desk_model()
    whole, again = model.invoke(asked), model.invoke(asked)
    assert (whole.text, whole.tool_calls) == (again.text, again.tool_calls)
    first, *rest = chunks_of(model, asked)
    streamed = sum(rest, first)
    assert (streamed.text, streamed.tool_calls) == (whole.text, whole.tool_calls)


def test_call_ids_are_never_used_twice_in_a_thread() -> None:
    model, asked = desk_model(), HumanMessage("Refund orders 1041 and 1042", id="m1")
    first = model.invoke([asked])
    answered = [result(order(number), call["id"]) for number, call in zip((1041, 1042), first.tool_calls, strict=True)]
    second = model.invoke([asked, first, *answered])
    later = model.invoke([asked, first, *answered, second, HumanMessage("Refund orders 1041 and 1042", id="m2")])
    ids = [call["id"] for message in (first, second, later) for call in message.tool_calls]
    assert len(ids) == len(set(ids)) == 6


def test_a_long_text_comes_in_longer_pieces_not_in_more_time() -> None:
    model = ScriptedChatModel(script=lambda messages, tools: Line("x" * 100_000))
    assert len(chunks_of(model, [HumanMessage("hi")])) < 200


@pytest.mark.parametrize("delay", ["", "nonsense", "-5", "nan", "inf"])
def test_an_odd_delay_is_no_failure(monkeypatch: pytest.MonkeyPatch, delay: str) -> None:
    monkeypatch.setenv("GATEHOUSE_DEMO_DELAY_MS", delay)
    model = ScriptedChatModel(script=lambda messages, tools: Line("ok"))
    assert model.invoke([HumanMessage("hi")]).text == "ok"
    assert "".join(str(chunk.content) for chunk in chunks_of(model, [HumanMessage("hi")])) == "ok"


# Which model


def test_without_a_name_the_demo_model_is_chosen() -> None:
    model = chosen_model()
    assert isinstance(model, ScriptedChatModel)
    assert "no AI" in str(type(model).__doc__)


def test_a_missing_provider_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEHOUSE_MODEL", "fireworks:some-model")
    with pytest.raises(ModelUnavailable, match=re.escape("requirements/models.txt")):
        chosen_model()


def test_a_name_that_means_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEHOUSE_MODEL", "nonsense")
    with pytest.raises(ModelUnavailable, match="nonsense"):
        chosen_model()
