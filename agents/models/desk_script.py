"""The demo model's part at the support desk: look up, act, say what came of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agents.models.prose import brief, clean, dollars, listed
from agents.models.scripted import LABEL, Call, Line
from agents.models.wishes import LONGEST, Verb, Wish, wishes

ABILITIES = f"""\
{LABEL}. At the support desk I can:

- show an order: “Show order 1041”
- search orders: “Find orders with a tent”
- refund: “Refund orders 1041 and 1042”, or a part: “Refund $20 on order 1041”
- email a customer: “Email the customer of order 1041 about the delay”
- cancel an order that was not shipped: “Cancel order 1043”
- change where it goes: “Change the address of order 1044 to 5 Main Street, 53113 Bonn, Germany”

Where the desk's rules say so, people decide before anything happens."""

TITLES = {
    "look_up_order": "Order {order_number}",
    "search_orders": "Search",
    "issue_refund": "Refund on order {order_number}",
    "send_email": "Email to {to}",
    "cancel_order": "Cancellation of order {order_number}",
    "change_address": "New address for order {order_number}",
}
READS = ("look_up_order", "search_orders")
NO_REASON = "The customer asked for it in the chat"
SIGNATURE = "Kind regards\nYour support desk"


@dataclass(frozen=True)
class Turn:
    """What happened since the user's newest message."""

    request: str = ""
    earlier: tuple[str, ...] = ()
    rounds: tuple[AIMessage, ...] = ()  # the messages with calls
    results: Mapping[str, ToolMessage] = field(default_factory=dict)

    @classmethod
    def of(cls, messages: Sequence[BaseMessage]) -> Turn:
        said = [index for index, message in enumerate(messages) if isinstance(message, HumanMessage)]
        if not said:
            return cls()
        since = messages[said[-1] + 1 :]
        return cls(
            request=str(messages[said[-1]].text),
            earlier=tuple(str(messages[index].text) for index in said[:-1]),
            rounds=tuple(message for message in since if isinstance(message, AIMessage) and message.tool_calls),
            results={message.tool_call_id: message for message in since if isinstance(message, ToolMessage)},
        )

    def outcomes(self) -> Iterator[tuple[Mapping[str, Any], ToolMessage | None]]:
        """The calls of the last round with what became of them."""
        for call in self.rounds[-1].tool_calls if self.rounds else ():
            yield call, self.results.get(call["id"] or "")

    def orders(self) -> dict[int, dict[str, Any]]:
        """What the look-ups of the last round found, by the order's number."""
        found = (_order_in(result) for call, result in self.outcomes() if call["name"] == "look_up_order")
        return {order["order_number"]: order for order in found if order}


def support_desk(messages: Sequence[BaseMessage], tools: frozenset[str]) -> Line:
    """Say and call what comes next."""
    turn = Turn.of(messages)
    if len(turn.request) > LONGEST:
        return Line(f"That is too long for me: I read messages of up to {LONGEST:,} characters.")
    asked = wishes(turn.request, turn.earlier)
    question = next((text for text in map(_unclear, asked) if text), "" if asked else ABILITIES)
    if question:
        return Line(question)
    reads = _once(_reads(asked))
    if not turn.rounds:
        return _within(tools, Line(_opening(reads), reads) if reads else _acting(_acts(asked, {}), ""))
    if len(turn.rounds) == 1 and reads and (acts := _acts(asked, turn.orders())):
        return _within(tools, _acting(acts, _findings(turn)))
    return Line("\n\n".join(_report(turn, asked)))


def _unclear(wish: Wish) -> str:
    """What has to be asked before anything is called, or ""."""
    if wish.verb is Verb.SEARCH:
        return ""
    if not wish.orders and not wish.to:
        return "Which order do you mean? I need its number, for example: order 1041."
    if wish.verb is Verb.REFUND and wish.vague:
        return "Which amount in US dollars, with at most two decimals? For example: “Refund $20 on order 1041”."
    if wish.verb is Verb.EMAIL and not wish.words:
        return "What should the email say? For example: “Email the customer of order 1041 about the delay”."
    if wish.verb is Verb.READDRESS and len(wish.words) < 8:
        return "Which address? For example: “Change the address of order 1044 to 5 Main Street, 53113 Bonn, Germany”."
    return ""


# What to call


def _reads(asked: Sequence[Wish]) -> Iterator[Call]:
    for wish in asked:
        if wish.verb is Verb.SEARCH:
            yield _search(wish)
        elif wish.verb in (Verb.REFUND, Verb.SHOW) or (wish.verb is Verb.EMAIL and not wish.to):
            yield from (Call("look_up_order", {"order_number": number}) for number in wish.orders)


def _once(calls: Iterable[Call]) -> tuple[Call, ...]:
    """Two wishes may need the same look-up."""
    return tuple({(call.tool, *call.arguments.items()): call for call in calls}.values())


def _search(wish: Wish) -> Call:
    return Call("search_orders", {"query": wish.words, **({"status": wish.status} if wish.status else {})})


def _acts(asked: Sequence[Wish], orders: Mapping[int, Mapping[str, Any]]) -> tuple[Call, ...]:
    return _once(call for wish in asked for call in _acts_for(wish, orders))


def _acts_for(wish: Wish, orders: Mapping[int, Mapping[str, Any]]) -> Iterator[Call]:
    if wish.verb is Verb.EMAIL and wish.to:
        yield _email(wish.to, wish.words, "")
        return
    for number in wish.orders:
        order = orders.get(number)
        if wish.verb is Verb.CANCEL:
            yield Call("cancel_order", {"order_number": number, "reason": wish.words or NO_REASON})
        elif wish.verb is Verb.READDRESS:
            yield Call("change_address", {"order_number": number, "address": wish.words})
        elif wish.verb is Verb.REFUND and order and (amount := wish.amount or order["left_to_refund"]) > 0:
            reason = wish.words or NO_REASON
            yield Call("issue_refund", {"order_number": number, "amount": amount, "reason": reason})
        elif wish.verb is Verb.EMAIL and order:
            yield _email(order["customer"]["email"], wish.words, order["customer"]["name"], number)


def _email(to: str, words: str, name: str, number: int = 0) -> Call:
    subject = f"Your order {number}" if number else "A message from our support desk"
    sentence = f"we are writing to you {words}" if words.lower().startswith("about ") else words
    sentence = sentence[:1].upper() + sentence[1:]
    body = f"Hello {name or 'there'},\n\n{sentence}{'' if sentence[-1:] in '.!?' else '.'}\n\n{SIGNATURE}"
    return Call("send_email", {"to": to, "subject": subject, "body": body})


def _within(tools: frozenset[str], line: Line) -> Line:
    missing = sorted({call.tool for call in line.calls} - tools)
    return Line(f"I have no tool for that here: {listed(missing)}.") if missing else line


# What to say


def _opening(reads: Sequence[Call]) -> str:
    numbers = [call.arguments["order_number"] for call in reads if call.tool == "look_up_order"]
    if not numbers:
        return "I will search the orders."
    return f"I will look {'that order' if len(numbers) == 1 else 'those orders'} up: {listed(numbers)}."


def _acting(acts: Sequence[Call], findings: str) -> Line:
    proposals = "\n".join(f"- {_proposal(call)}" for call in acts)
    return Line("\n\n".join(filter(None, (findings, f"I am going to ask for:\n\n{proposals}"))), tuple(acts))


def _proposal(call: Call) -> str:
    title = TITLES[call.tool].format_map(call.arguments)
    amount = call.arguments.get("amount")
    return f"{title}: {dollars(amount)}" if amount else title


def _findings(turn: Turn) -> str:
    """What the look-ups said, in short."""
    return "\n".join(f"- {_finding(call, result)}" for call, result in turn.outcomes())


def _finding(call: Mapping[str, Any], result: ToolMessage | None) -> str:
    order = _order_in(result)
    if not order:
        return _described(call, result)
    left = order["left_to_refund"]
    money = f"{dollars(left)} left to refund" if left > 0 else "nothing left to refund"
    return f"Order {order['order_number']}: {order['status']}, {order['customer']['name']}, {money}"


def _report(turn: Turn, asked: Sequence[Wish]) -> Iterator[str]:
    """What came of the last round, in the words of the tools and of the people who answered for them."""
    wanted = any(wish.verb not in (Verb.SHOW, Verb.SEARCH) for wish in asked)
    if wanted and not any(call["name"] not in READS for call, _ in turn.outcomes()):
        yield _findings(turn)
        yield "So there is nothing I could do; nothing was changed."
        return
    lines = [_described(call, result) for call, result in turn.outcomes()]
    yield "\n".join(f"- {line}" for line in lines) if len(lines) > 1 else lines[0]


def _described(call: Mapping[str, Any], result: ToolMessage | None) -> str:
    if order := _order_in(result):
        return _portrait(order)
    if (found := _orders_in(result)) is not None:
        return (
            "\n".join(["These orders fit:", "", *(f"- {_row(each)}" for each in found)]) if found else "No order fits."
        )
    return _told(call, result)


def _told(call: Mapping[str, Any], result: ToolMessage | None) -> str:
    """The result as it is: it may be the tool's, or say that people rejected, changed or answered the call."""
    title = brief(TITLES.get(call["name"], call["name"]).format_map(_Shown(call["args"])), 120)
    if result is None:
        return f"{title}: I was told nothing about it."
    told = brief(result.text, 600)
    if result.status == "error" and call["name"] not in READS:
        return f"{title}, not done: {told}"
    return told if title.split()[-1] in told else f"{title}: {told}"


class _Shown(dict[str, Any]):
    """Arguments for a title: a model other than this one may have left some out."""

    def __missing__(self, name: str) -> str:
        return "?"


def _portrait(order: Mapping[str, Any]) -> str:
    goods = listed(f"{item['quantity']} × {item['name']}" for item in order["items"])
    refunded = f"{dollars(order['refunded'])} of it refunded" if order["refunded"] else "nothing refunded"
    return (
        f"Order {order['order_number']} is {order['status']}. {order['customer']['name']}"
        f" ({order['customer']['email']}) placed it on {order['placed_on']}: {goods}."
        f" Total {dollars(order['total'])}, {refunded}. It goes to {order['address']}."
    )


def _row(order: Mapping[str, Any]) -> str:
    return (
        f"{order['order_number']}, {order['status']}, {order['placed_on']}, {order['customer']['name']},"
        f" {dollars(order['total'])}"
    )


# Reading results. A person may have answered in the tool's place, so anything may stand there.


def _order_in(result: ToolMessage | None) -> dict[str, Any] | None:
    value = _json_in(result)
    return value if _is_order(value) else None


def _orders_in(result: ToolMessage | None) -> list[dict[str, Any]] | None:
    value = _json_in(result)
    return value if isinstance(value, list) and all(map(_is_order, value)) else None


def _json_in(result: ToolMessage | None) -> Any:
    if result is None or result.status == "error":
        return None
    try:
        return json.loads(clean(result.text))
    except (ValueError, RecursionError):
        return None


SHAPE: Mapping[str, type | tuple[type, ...]] = {
    "order_number": int,
    "status": str,
    "customer": dict,
    "items": list,
    "total": (int, float),
    "refunded": (int, float),
    "left_to_refund": (int, float),
    "placed_on": str,
    "address": str,
}


def _is_order(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(name), kind) for name, kind in SHAPE.items())
        and all(math.isfinite(value[name]) for name in ("total", "refunded", "left_to_refund"))
        and all(isinstance(value["customer"].get(name), str) for name in ("name", "email"))
        and all(isinstance(item, dict) and {"quantity", "name"} <= item.keys() for item in value["items"])
    )
