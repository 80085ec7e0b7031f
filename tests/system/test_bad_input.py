"""Whatever is sent, nothing runs that nobody approved, nothing that was typed is lost, and no page breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.stack import Person, Stack, decide

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7|add:7 }}{% now 'Y' %}"
SURROGATE = "\ud800"  # lone
NUL = "\x00"
BROKEN = re.compile(r".*Internal Server Error.*|.*Exception in ASGI application.*")  # as web's log says it
BAD_TEXTS = {"NUL": f"a{NUL}b", "lone surrogate": f"a{SURROGATE}b", "markup": MARKUP, "override": "a\u202eb\u2066"}
each_bad_text = pytest.mark.parametrize("text", BAD_TEXTS.values(), ids=BAD_TEXTS)


@dataclass
class Answers:
    """Every answer that anybody got in this module."""

    all: list[tuple[str, int]] = field(default_factory=list)

    def note(self, answer: httpx.Response) -> None:
        self.all.append((f"{answer.request.method} {answer.request.url}", answer.status_code))


@dataclass(frozen=True, kw_only=True)
class House:
    stack: Stack

    def __getattr__(self, name: str) -> Person:
        """`house.reviewer`: that person of Acme."""
        return self.stack.person(f"{name}@acme.example")

    def ask(self, *, requester: str = "member", tenant: str = "acme") -> dict[str, Any]:
        """An open request for a refund of $3."""
        member = self.stack.person(f"{requester}@{tenant}.example")
        conversation = member.start("refund 3 on order 1071 because it was late", tenant=tenant)
        self.stack.until(conversation, "waiting")
        [review] = self.stack.requests(conversation)
        return review

    def call(self, review: dict[str, Any]) -> dict[str, Any]:
        return self.stack.row("SELECT * FROM calls_toolcall WHERE id = %s", review["call_id"])

    def stands_untouched(self, review: dict[str, Any]) -> None:
        """Still open as it was asked; nothing decided, nothing executed."""
        assert self.stack.row("SELECT * FROM reviews_reviewrequest WHERE id = %s", review["id"]) == review
        assert self.stack.rows("SELECT 1 FROM reviews_decision WHERE request_id = %s", review["id"]) == []
        assert self.stack.run_of(review["conversation_id"])["status"] == "waiting"
        assert self.refunds(review) == []

    def refunds(self, review: dict[str, Any]) -> list[dict[str, Any]]:
        return self.stack.rows("SELECT * FROM shop.refunds WHERE idempotency_key LIKE %s", f"{review['call_id']}:%")

    def messages(self, conversation: str) -> list[str]:
        rows = self.stack.rows(
            "SELECT text FROM conversations_message WHERE conversation_id = %s AND author = 'user' ORDER BY created_at",
            conversation,
        )
        return [row["text"] for row in rows]


@pytest.fixture(scope="module", autouse=True)
def answers(shared_stack: Stack) -> Iterator[Answers]:
    """Nothing in this module may break a page: looked at when all of it is over."""
    noted, log_before = Answers(), len(shared_stack.log("web"))
    people = [
        shared_stack.person(f"{name}@acme.example") for name in ("member", "reviewer", "reviewer2", "admin", "auditor")
    ]
    for person in people:
        person.event_hooks = {"response": [noted.note]}
    yield noted
    for person in people:
        person.event_hooks = {}
    assert noted.all
    assert [each for each in noted.all if each[1] >= 500] == []
    assert BROKEN.findall(shared_stack.log("web")[log_before:]) == []


@pytest.fixture
def house(shared_stack: Stack) -> House:
    return House(stack=shared_stack)


@pytest.fixture(scope="module")
def pending(shared_stack: Stack) -> dict[str, Any]:
    """One open request, for all that must leave it as it is."""
    return House(stack=shared_stack).ask()


@pytest.fixture(scope="module")
def question(shared_stack: Stack) -> dict[str, Any]:
    """A graph's own open question, with a state to edit."""
    conversation = shared_stack.person("member@acme.example").start("write about tents", agent="Newsroom")
    shared_stack.until(conversation, "waiting")
    [review] = shared_stack.requests(conversation)
    return review


# Messages


@pytest.mark.parametrize("text", ["", "  \r\n\t "], ids=["nothing", "white space"])
def test_an_empty_message_is_refused_and_nothing_begins(house: House, text: str) -> None:
    before = _conversations(house)
    answer = _start(house, text=text)
    assert answer.status_code == 422
    assert "Write a message first." in answer.text
    assert _conversations(house) == before


def test_a_message_of_100_kb_is_refused_with_the_limit_and_comes_back_to_its_writer(house: House) -> None:
    conversation = house.member.start("hello")
    long = "long message " * 8000
    for answer in (_start(house, text=long), house.member.submit(f"/t/acme/chat/{conversation}/", text=long)):
        assert answer.status_code == 422
        assert "65,536 is the limit" in answer.text
        assert long.strip() in answer.text
    assert house.messages(conversation) == ["hello"]


def test_a_message_of_just_64_kib_is_taken_whole(house: House) -> None:
    text = "ä" * 32 * 1024
    conversation = house.member.start(text)
    assert house.messages(conversation) == [text]
    house.stack.until(conversation, "succeeded")


def test_markup_in_a_message_is_text(house: House) -> None:
    conversation = house.member.start(MARKUP)
    house.stack.until(conversation, "succeeded")
    assert house.messages(conversation) == [MARKUP]
    for page in (f"/t/acme/chat/{conversation}/", "/t/acme/chat/"):
        shown = house.member.get(page).text
        assert "<script>alert" not in shown
        assert "<img src=x" not in shown
        assert "&lt;script&gt;" in shown


@each_bad_text
def test_a_message_of_any_characters_is_kept_or_refused(house: House, text: str) -> None:
    before = _conversations(house)
    answer = _send_raw(house.member, "/t/acme/chat/", agent=_agent(house), text=text)
    assert answer.status_code in (302, 422)
    if answer.status_code == 422:
        assert _conversations(house) == before
        assert 'role="alert"' in answer.text or "Null characters" in answer.text
    else:
        house.stack.until(answer.headers["location"].rstrip("/").rsplit("/", 1)[1], "succeeded")


@each_bad_text
def test_a_refused_message_of_any_characters_is_shown_again(house: House, text: str) -> None:
    answer = _send_raw(house.member, "/t/acme/chat/", agent=_agent(house), text=text + "long message " * 8000)
    assert answer.status_code == 422
    assert "long message long message" in answer.text


@each_bad_text
def test_an_agent_that_is_no_agent_is_not_found(house: House, text: str) -> None:
    assert _send_raw(house.member, "/t/acme/chat/", agent=text, text="hello").status_code == 404


# Decisions


@each_bad_text
@pytest.mark.parametrize("verdict", ["reject", "respond"])
def test_feedback_of_any_characters_is_kept_or_refused(house: House, verdict: str, text: str) -> None:
    review = house.ask()
    answer = _decide_raw(house.reviewer, review, verdict=verdict, digest=review["digest"], feedback=text)
    assert answer.status_code == 302
    house.stack.until(review["conversation_id"], "succeeded")
    assert house.refunds(review) == []
    [decision] = house.stack.rows("SELECT * FROM reviews_decision WHERE request_id = %s", review["id"])
    assert decision["feedback"] == text.replace(NUL, "\\u0000").replace(SURROGATE, "\\ud800")
    shown = house.reviewer.get(f"/t/acme/queue/{review['id']}/")
    assert shown.status_code == 200
    assert "<script>alert" not in shown.text


@pytest.mark.parametrize("verdict", ["reject", "respond"])
def test_an_answer_without_words_is_refused(house: House, pending: dict[str, Any], verdict: str) -> None:
    answer = decide(house.reviewer, pending, verdict, feedback="  ")
    assert answer.status_code == 422
    assert "Write what the agent should be told." in answer.text
    house.stands_untouched(pending)


@pytest.mark.parametrize("verdict", ["", "approved", "APPROVE", "withdraw", *BAD_TEXTS.values()])
def test_a_verdict_nobody_knows_is_refused(house: House, pending: dict[str, Any], verdict: str) -> None:
    answer = _decide_raw(house.reviewer, pending, verdict=verdict, digest=pending["digest"], feedback="because")
    assert answer.status_code == 422
    assert "Choose to approve, edit, reject or respond." in answer.text
    house.stands_untouched(pending)


@pytest.mark.parametrize("digest", ["", "0" * 64, "upper", *BAD_TEXTS.values()])
@pytest.mark.parametrize("verdict", ["approve", "reject", "edit"])
def test_a_digest_of_something_else_decides_nothing(
    house: House, pending: dict[str, Any], verdict: str, digest: str
) -> None:
    sent = pending["digest"].upper() if digest == "upper" else digest
    fields = {"feedback": "because", "arg-amount": "1"}
    answer = _decide_raw(house.reviewer, pending, verdict=verdict, digest=sent, **fields)
    assert answer.status_code == 409
    assert "This is not what you saw" in answer.text
    house.stands_untouched(pending)


@pytest.mark.parametrize(
    ("name", "typed", "reason"),
    [
        ("amount", "{not json", "not a number"),
        ("amount", "NaN", "not a number"),
        ("amount", "1e999", "not a number"),
        ("amount", '"5"', "not a number"),
        ("amount", "-5", "-5 is less than or equal to the minimum"),
        ("amount", "[" * 5000, "not a number"),
        ("amount", "", "a value is needed"),
        ("order_number", "1071.5", "not a whole number"),
        ("order_number", str(2**70), "exceeds safe integer domain"),
        ("order_number", "99999999999", "greater than the maximum"),
        ("reason", "r" * 501, "is too long"),
        ("reason", "r" * 70_000, "the limit is 65,536"),
    ],
)
@pytest.mark.parametrize("sending", [{"preview": "1"}, {"verdict": "edit"}], ids=["preview", "edit"])
def test_arguments_that_cannot_be_are_refused_with_the_reason_and_what_was_typed(
    house: House, pending: dict[str, Any], sending: dict[str, str], name: str, typed: str, reason: str
) -> None:
    answer = _decide_raw(house.reviewer, pending, digest=pending["digest"], **sending, **{f"arg-{name}": typed})
    assert answer.status_code == 422
    form = answer.text[answer.text.index('id="edit-panel"') : answer.text.index('id="reject-panel"')]
    assert reason in form
    assert _escaped(typed) in form
    house.stands_untouched(pending)


@each_bad_text
def test_edited_arguments_of_any_characters_are_shown_as_they_would_run(
    house: House, pending: dict[str, Any], text: str
) -> None:
    fields = {"digest": pending["digest"], "arg-reason": text}
    answer = _decide_raw(house.reviewer, pending, preview="1", **fields)
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert _decide_raw(house.reviewer, pending, verdict="edit", **fields).status_code == 409, "not the preview's digest"
    house.stands_untouched(pending)


def test_after_a_preview_the_call_as_it_was_can_still_be_rejected(house: House) -> None:
    review = house.ask()
    page = _decide_raw(house.reviewer, review, preview="1", digest=review["digest"], **{"arg-amount": "1"}).text
    panel = page[page.index('id="reject-panel"') : page.index('id="respond-panel"')]
    [digest] = re.findall(r'name="digest" value="([0-9a-f]{64})"', panel)
    assert decide(house.reviewer, review, "reject", digest=digest, feedback="no").status_code == 302


def test_an_edit_that_changes_nothing_is_refused(house: House, pending: dict[str, Any]) -> None:
    answer = decide(house.reviewer, pending, "edit")
    assert answer.status_code == 422
    assert "Nothing was changed" in answer.text
    house.stands_untouched(pending)


# The graph's own question


@pytest.mark.parametrize(
    "fields",
    [
        {"verdict": "approve"},
        {"verdict": "edit"},
        {"verdict": "reject", "feedback": "no"},
        {"verdict": "respond"},
        {"verdict": "respond", "choice": "burn"},
        {"verdict": "respond", "choice": f"publish{NUL}"},
        {"verdict": "respond", "choice": f"publish{SURROGATE}"},
        {"preview": "1"},
    ],
    ids=str,
)
def test_a_question_takes_only_an_answer_it_offers(
    house: House, question: dict[str, Any], fields: dict[str, str]
) -> None:
    answer = _decide_raw(house.reviewer, question, digest=question["digest"], **fields)
    assert answer.status_code == 422
    assert "Not sent" in answer.text
    house.stack.row("SELECT 1 FROM reviews_reviewrequest WHERE id = %s AND status = 'pending'", question["id"])


@each_bad_text
def test_a_state_edited_to_any_characters_reaches_the_graph(house: House, text: str) -> None:
    conversation = house.member.start("write about stoves", agent="Newsroom")
    house.stack.until(conversation, "waiting")
    [review] = house.stack.requests(conversation)
    fields = {"choice": "publish", "note": text, "state-draft": text, "digest": review["digest"]}
    assert _decide_raw(house.reviewer, review, verdict="respond", **fields).status_code == 302
    house.stack.until(conversation, "succeeded")
    page = house.member.get(f"/t/acme/chat/{conversation}/")
    assert page.status_code == 200
    assert "Published:" in page.text
    assert "<script>alert" not in page.text


# Who, and to what


def test_a_sending_without_the_csrf_token_is_refused(house: House, pending: dict[str, Any]) -> None:
    path = f"/t/acme/queue/{pending['id']}/decide/"
    fields = {"verdict": "approve", "digest": pending["digest"]}
    assert house.reviewer.post(path, data=fields).status_code == 403
    assert house.reviewer.post(path, data={**fields, "csrfmiddlewaretoken": "x" * 64}).status_code == 403
    assert house.member.post("/t/acme/chat/", data={"agent": _agent(house), "text": "hello"}).status_code == 403
    house.stands_untouched(pending)


def test_a_sending_from_another_site_is_refused(house: House, pending: dict[str, Any]) -> None:
    fields = {
        "verdict": "approve",
        "digest": pending["digest"],
        "csrfmiddlewaretoken": house.reviewer.cookies["csrftoken"],
    }
    path, origin = f"/t/acme/queue/{pending['id']}/decide/", {"Origin": "https://evil.example"}
    assert house.reviewer.post(path, data=fields, headers=origin).status_code == 403
    house.stands_untouched(pending)


@pytest.mark.parametrize("email", ["member", "auditor"])
def test_people_without_the_role_decide_nothing(house: House, pending: dict[str, Any], email: str) -> None:
    for verdict in ("approve", "reject"):
        person = house.stack.person(f"{email}@acme.example")
        assert decide(person, pending, verdict, feedback="because").status_code == 403
    house.stands_untouched(pending)


def test_a_refusal_says_why(house: House) -> None:
    answer = decide(house.reviewer, house.ask(requester="reviewer"), "approve")
    assert "You asked for this, so somebody else has to decide it." in answer.text


@pytest.mark.parametrize("verdict", ["approve", "reject", "respond", "edit"])
def test_nobody_decides_what_he_asked_for_himself(house: House, verdict: str) -> None:
    own = house.ask(requester="reviewer")
    answer = decide(house.reviewer, own, verdict, feedback="because")
    assert answer.status_code == 403
    house.stands_untouched(own)


def test_a_decided_request_cannot_be_decided_again(house: House) -> None:
    review = house.ask()
    assert decide(house.reviewer, review, "reject", feedback="no").status_code == 302
    for verdict in ("approve", "respond", "edit"):
        answer = decide(house.reviewer2, review, verdict, feedback="yes")
        assert answer.status_code == 409
        assert "Rejected by Rosa Reviewer" in answer.text
    house.stack.until(review["conversation_id"], "succeeded")
    assert house.refunds(review) == []


def test_a_request_that_is_not_there_cannot_be_decided(house: House) -> None:
    elsewhere = house.ask(tenant="globex")
    for review in ({"id": uuid4(), "digest": "0" * 64}, elsewhere):
        assert decide(house.reviewer, review, "approve").status_code == 404
        assert house.reviewer.get(f"/t/acme/queue/{review['id']}/").status_code == 404
    house.stands_untouched(elsewhere)


def test_nothing_is_changed_by_fetching_an_address(house: House, pending: dict[str, Any]) -> None:
    queue, chat = f"/t/acme/queue/{pending['id']}/", f"/t/acme/chat/{pending['conversation_id']}/"
    posted = [
        f"{queue}decide/",
        f"{queue}undo/",
        f"{chat}stop/",
        f"{chat}withdraw/{pending['id']}/",
        f"{chat}retry/{pending['run_id']}/",
        f"/t/acme/holds/{uuid4()}/lift/",
        "/accounts/theme/",
    ]
    fields = {"verdict": "approve", "digest": pending["digest"]}
    for person in (house.member, house.admin):
        token = {"X-CSRFToken": person.cookies["csrftoken"], "Origin": house.stack.url}
        for path in posted:
            for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
                assert person.request(method, path, params=fields, headers=token).status_code == 405, (method, path)
    house.stands_untouched(pending)


ODD_ADDRESSES = [
    *(f"/t/acme/queue/{each}/" for each in ("1", "%00", "%ED%A0%80", "..%2F..%2Fetc", "0" * 32, "-" * 36)),
    *(f"/t/acme/chat/{each}/" for each in ("1", "%00", "%ED%A0%80")),
    *(f"/t/{each}/queue/" for each in ("%00", "%ED%A0%80", "acme%20", "ACME", "%F0%9F%98%80", "a" * 3000)),
]


@pytest.mark.parametrize("address", ODD_ADDRESSES, ids=lambda address: address[:40])
def test_an_address_of_anything_is_not_found(house: House, address: str) -> None:
    assert house.reviewer.get(address).status_code == 404


CURSORS = ("", "x", "_", "%00", "%ED%A0%80", "2026-01-01", "2026-01-01_x", "2026-01-01_", "9999-12-31_")
FAR_OFFSETS = ("0001-01-01T00:00:00%2B23:59_", "2026-01-01T00:00:00-23:59_", "9999-12-31T23:59:59-14:00_")


@pytest.mark.parametrize("cursor", CURSORS + FAR_OFFSETS)
@pytest.mark.parametrize("status", ["open", "decided", "%00", "nonsense"])
def test_a_cursor_of_anything_is_a_page_of_the_queue(house: House, status: str, cursor: str) -> None:
    whole = f"{cursor}{uuid4()}" if cursor.endswith("_") and len(cursor) > 1 else cursor
    assert house.reviewer.get(f"/t/acme/queue/?status={status}&cursor={whole}").status_code == 200


def test_bodies_that_are_no_forms_are_refused(house: House, pending: dict[str, Any]) -> None:
    path = f"/t/acme/queue/{pending['id']}/decide/"
    headers = {"X-CSRFToken": house.reviewer.cookies["csrftoken"], "Origin": house.stack.url}
    bodies = {
        "application/json": b'{"verdict": "approve"}',
        "multipart/form-data": b"verdict=approve",
        "multipart/form-data; boundary=x": b"--x\r\nContent-Disposition: form-data\r\n\r\n",
        "application/x-www-form-urlencoded": b"verdict=approve&" * 2000,
        "text/plain": b"\xff\xfe" + b"x" * 2_000_000,
    }
    for kind, body in bodies.items():
        answer = house.reviewer.post(path, content=body, headers={**headers, "Content-Type": kind})
        assert answer.status_code in (400, 409, 413, 422), kind
    house.stands_untouched(pending)


@each_bad_text
def test_the_sign_in_page_takes_any_characters(house: House, text: str) -> None:
    for fields in ({"login": f"{text}@example.com", "password": "x"}, {"login": "a@example.com", "password": text}):
        with httpx.Client(base_url=house.stack.url) as stranger:
            stranger.get("/accounts/login/")
            answer = _raw(
                stranger, "/accounts/login/", {**fields, "csrfmiddlewaretoken": stranger.cookies["csrftoken"]}
            )
            assert answer.status_code == 200
    answer = _send_raw(house.auditor, "/accounts/theme/", theme=text, next=f"/{text}")
    assert answer.status_code == 302


def _agent(house: House) -> str:
    return house.stack.agent_id("acme", "Support desk")


def _start(house: House, *, text: str) -> httpx.Response:
    return house.member.submit("/t/acme/chat/", agent=_agent(house), text=text)


def _conversations(house: House) -> int:
    return int(house.stack.row("SELECT count(*) FROM conversations_conversation")["count"])


def _escaped(text: str) -> str:
    return text.replace('"', "&quot;")


def _decide_raw(person: Person, review: dict[str, Any], **fields: str) -> httpx.Response:
    return _send_raw(person, f"/t/acme/queue/{review['id']}/decide/", **fields)


def _send_raw(person: Person, path: str, **fields: str) -> httpx.Response:
    return _raw(person, path, {**fields, "csrfmiddlewaretoken": person.cookies["csrftoken"]})


def _raw(client: httpx.Client, path: str, fields: dict[str, str]) -> httpx.Response:
    """A form whose sender claims an encoding in which lone surrogates can be written; it is read as UTF-8 all the same."""
    claimed = {name: "raw_unicode_escape" if SURROGATE in text else "utf-8" for name, text in fields.items()}
    parts = [
        b'--edge\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (name.encode(), text.encode(claimed[name]))
        for name, text in fields.items()
    ]
    kind = "multipart/form-data; charset=raw_unicode_escape; boundary=edge"
    headers = {"Content-Type": kind, "Origin": str(client.base_url).rstrip("/")}
    return client.post(path, content=b"".join(parts) + b"--edge--\r\n", headers=headers)
