"""What a message to the support desk asks for, as far as fixed patterns can tell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agents.models.prose import brief, clean

LONGEST = 4_000  # characters of a message that are read
MOST_ORDERS = 10  # of one wish: each of them becomes a call that people may have to read


class Verb(StrEnum):
    REFUND = "refund"
    EMAIL = "email"
    CANCEL = "cancel"
    READDRESS = "readdress"
    SHOW = "show"
    SEARCH = "search"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One thing to do. `words`: the reason, the mail ("about ...": its topic), the new address, the query, or ""."""

    verb: Verb
    orders: tuple[int, ...] = ()
    amount: float | None = None
    vague: bool = False  # half, 20 %, 30 euros, -5, 1.005: an amount that nobody should guess
    to: str = ""  # the mail's address, where one was given
    status: str = ""  # of the orders that are searched
    words: str = ""


PATTERNS = {
    Verb.REFUND: r"(?:issue\s+|give\s+|make\s+)?(?:an?\s+|the\s+|me\s+|full\s+)*(?:refund|reimburse|money\s+back)\w*",
    Verb.EMAIL: r"(?:send\s+|write\s+)?(?:an?\s+)?(?:e-?mail|mail|message)\b(?!\s+address)|write\s+to\b",
    Verb.CANCEL: r"cancel\w*",
    Verb.READDRESS: r"(?:change|update|correct|set|edit)\s+(?:(?:the|its|my|shipping|delivery|new)\s+)*address"
    r"|readdress|(?:send|ship|redirect)\s+order",
    Verb.SEARCH: r"(?:find|search|list)\b|(?:show|which|what)\s+(?:(?:me|all|the|my)\s+)*orders\b(?!\s*#?[0-9])",
    Verb.SHOW: r"(?:show|look\s+(?:up|at|into)|display|open|check|describe|track|status|where(?:\s+is|['’]s))\b",
}
SPOKEN = re.compile("|".join(f"(?P<{verb}>\\b(?:{pattern}))" for verb, pattern in PATTERNS.items()), re.IGNORECASE)
# A verb counts where a clause begins: "cancel order 1043, the customer wants a refund" wishes for one thing.
BEGINS = re.compile(
    r"(?:^|[.,;:!?\n(]|\b(?:and|then|please|also|to|you|just|now|kindly|pls|i['’]d like|need|want|let['’]?s))\s*$",
    re.IGNORECASE,
)
NEGATED = re.compile(r"\b(?:not|n['’]t|dont|never|without|no)\s+(?:\w+\s+)?$|n['’]t\s+(?:\w+\s+)?$", re.IGNORECASE)

NUMBER = r"#?\s?[0-9]{1,9}(?![0-9])(?!\s*(?:\$|%|\.[0-9]|usd|dollars?|bucks))"
ORDERS = re.compile(
    rf"\b(?:orders?|numbers?|no\.)\s*(?:(?:number|no\.?|nr\.?)\s*)?({NUMBER}(?:(?:\s*,\s*and\s+|\s*[,&/+]\s*|\s+and\s+){NUMBER})*)"
    rf"|#([0-9]{{1,9}})(?![0-9])",
    re.IGNORECASE,
)
BARE_ORDER = re.compile(r"(?<![$€£0-9.,-])\b([0-9]{4,9})\b(?!\s*(?:[.,][0-9]|%|usd|dollars?|euros?))", re.IGNORECASE)
DECIMAL = r"([0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]{1,9})?|[0-9]{1,9}(?:\.[0-9]{1,9})?)"
AMOUNT = re.compile(
    rf"\$\s*{DECIMAL}|{DECIMAL}\s*(?:\$|usd\b|dollars?\b|bucks\b)|\b(?:refund|just|only|exactly|of|for)\s+{DECIMAL}(?![0-9])",
    re.IGNORECASE,
)
VAGUE = re.compile(r"\b(?:half|third|quarter|part(?:ly|ial)?|percent|euros?|pounds?|some)\b|[%€£]", re.IGNORECASE)
NO_AMOUNT = re.compile(r"(?:^|\s)[-\u2212]\s*\$?\s*[0-9]|[0-9]\.[0-9]{3}")
IN_DOLLARS = re.compile(r"\$|usd\b|dollars?\b", re.IGNORECASE)
MAILBOX = re.compile(r"[^\s<>,;:@()\[\]\"']{1,64}@[a-z0-9.-]{1,180}\.[a-z]{2,24}", re.IGNORECASE)
REASON = re.compile(r"\b(?:because|since|as\s+(?:it|they|the)|reason:?)\s+(.+)", re.IGNORECASE | re.DOTALL)
LETTER = re.compile(
    r"(?:\b(?:saying|that\s+says|telling\s+\w+|that|to\s+say|to\s+tell\s+\w+)\b\s*:?|:)\s*(?P<letter>.+)|\b(?P<topic>about\s.+)",
    re.IGNORECASE | re.DOTALL,
)
NEW_ADDRESS = re.compile(r"(?:\bto\b|:)\s*(.{3,})", re.IGNORECASE | re.DOTALL)
STATUS = re.compile(r"\b(?:processing|shipped|delivered|cancelled)\b", re.IGNORECASE)
QUERY_NOISE = re.compile(
    r"^(?:\s*(?:me|all|an?|the|my|our|for|of|by|from|with|orders?|that|which|are|is|about|containing|customers?)\b)+|[?!.\s]+$",
    re.IGNORECASE,
)

# Where a wish's own terms end and text begins that may speak of anything.
FREE_WORDS = {Verb.REFUND: REASON, Verb.CANCEL: REASON, Verb.EMAIL: LETTER, Verb.READDRESS: NEW_ADDRESS}


def wishes(text: str, earlier: Sequence[str] = ()) -> tuple[Wish, ...]:
    """Read the wishes out of a message. "it" and "them" mean the orders of the wish or the messages before."""
    text = clean(text)[:LONGEST]
    found: list[Wish] = []
    before = next(filter(None, (order_numbers(each[:LONGEST]) for each in (text, *reversed(earlier)))), ())
    for verb, clause in _clauses(text):
        wish = _wish(verb, clause, before)
        before = wish.orders or before
        found.append(wish)
    return tuple(found)


def _clauses(text: str) -> Iterator[tuple[Verb, str]]:
    spoken = [match for match in SPOKEN.finditer(text) if not NEGATED.search(text[: match.start()][-40:])]
    verbs = [match for match in spoken if BEGINS.search(text[: match.start()][-40:])] or spoken[:1]
    at = 0
    for index, match in enumerate(verbs):
        if match.start() < at:
            continue
        verb = Verb(match.lastgroup or Verb.SHOW)
        clause = text[match.start() : verbs[index + 1].start() if verbs[index + 1 :] else len(text)]
        if (verb is Verb.EMAIL and LETTER.search(clause)) or (verb is Verb.READDRESS and NEW_ADDRESS.search(clause)):
            clause = text[match.start() :]  # what follows is a letter or an address, whatever verbs it has
        at = match.start() + len(clause)
        yield verb, clause


def _wish(verb: Verb, clause: str, before: tuple[int, ...]) -> Wish:
    free = FREE_WORDS.get(verb)
    terms = free.sub("", clause) if free else clause
    orders = order_numbers(terms) or (before if verb is not Verb.SEARCH else ())
    mailbox = MAILBOX.search(clause) if verb is Verb.EMAIL else None
    status = STATUS.search(clause) if verb is Verb.SEARCH else None
    return Wish(
        verb=verb,
        orders=orders,
        amount=_amount(terms) if verb is Verb.REFUND else None,
        vague=verb is Verb.REFUND and _is_vague(terms),
        to=mailbox[0] if mailbox else "",
        status=status[0].lower() if status else "",
        words=_words(verb, clause),
    )


def order_numbers(text: str) -> tuple[int, ...]:
    """Every order a text names, once, in its order; at most ten."""
    lists = " ".join(match[1] or match[2] for match in ORDERS.finditer(text))
    numbers = re.findall("[0-9]+", lists) or BARE_ORDER.findall(text)
    return tuple(dict.fromkeys(int(number) for number in numbers if int(number) > 0))[:MOST_ORDERS]


def _is_vague(clause: str) -> bool:
    return bool(NO_AMOUNT.search(clause) or (VAGUE.search(clause) and not IN_DOLLARS.search(clause)))


def _amount(clause: str) -> float | None:
    match = AMOUNT.search(ORDERS.sub(" order ", clause) if ORDERS.search(clause) else BARE_ORDER.sub(" order ", clause))
    figures = next(filter(None, match.groups()), "") if match else ""
    return float(figures.replace(",", "") or 0) or None


def _words(verb: Verb, clause: str) -> str:
    if verb in (Verb.REFUND, Verb.CANCEL):
        return brief(_after(REASON, clause), 300).strip(" .,;")
    if verb is Verb.EMAIL:
        return _after(LETTER, MAILBOX.sub(" ", clause)).strip()
    if verb is Verb.READDRESS:
        return " ".join(_after(NEW_ADDRESS, ORDERS.sub(" ", clause)).split())
    if verb is Verb.SEARCH:
        return brief(QUERY_NOISE.sub("", STATUS.sub("", SPOKEN.sub("", clause, count=1))), 80).strip(" \"'“”")
    return ""


def _after(pattern: re.Pattern[str], clause: str) -> str:
    match = pattern.search(clause)
    return next(filter(None, match.groups()), "") if match else ""
