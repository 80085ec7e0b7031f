"""Open pages follow what happens elsewhere, by socket or without one, and never touch what somebody is typing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Locator, Page, Route, WebSocketRoute, expect

from tests.browser import steps
from tests.browser.conftest import People
from tests.stack import Stack, decide, eventually

Waiting = Callable[..., dict[str, Any]]
SOCKETS = re.compile("/ws/")
AGAIN_LATER = 1013  # a close code after which the page connects anew


@pytest.fixture
def reviewer(people: People) -> Page:
    return people.sign_in("reviewer@acme.example")


@pytest.fixture
def member(people: People) -> Page:
    return people.sign_in("member@acme.example")


@pytest.fixture
def undo_window(stack: Stack) -> Iterator[None]:
    """Long enough that no test is late."""
    change = "UPDATE tenants_tenant SET undo_seconds = %s WHERE slug = 'acme'"
    with psycopg.connect(stack.environment["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute(change, [120])
        yield
        owner.execute(change, [0])


def open_detail(page: Page, review: dict[str, Any]) -> None:
    page.goto(f"/t/acme/queue/{review['id']}/")
    steps.connected(page)


def chip(page: Page) -> Locator:
    return page.locator("[data-live]").first


class Wire:
    """The page's sockets, with scissors."""

    def __init__(self, page: Page) -> None:
        self.whole = True
        self.open: list[WebSocketRoute] = []
        page.route_web_socket(SOCKETS, self._opened)

    def cut(self) -> None:
        self.whole = False
        while self.open:
            self.open.pop().close(code=AGAIN_LATER)

    def mend(self) -> None:
        self.whole = True

    def _opened(self, socket: WebSocketRoute) -> None:
        if self.whole:
            self.open.append(socket)
            socket.connect_to_server()
        else:
            socket.close(code=AGAIN_LATER)


# The connection


def test_right_after_a_reload_the_page_is_live(reviewer: Page, waiting: Waiting, orders: Iterator[int]) -> None:
    steps.open_queue(reviewer)
    reviewer.reload()
    title = waiting(f"refund $2 on order {next(orders)}")["title"]
    expect(steps.row(reviewer, title)).to_be_visible()


def test_a_page_is_live_however_late_the_socket_s_script_comes(reviewer: Page) -> None:
    held: list[Route] = []
    reviewer.route("**/hx-ws.min.js", lambda route: held.append(route))
    reviewer.goto("/t/acme/queue/", wait_until="commit")
    eventually(lambda: reviewer.evaluate("'htmx' in window") and held)
    reviewer.evaluate("new Promise((done) => setTimeout(done))")  # what htmx had planned for now has happened
    held.pop().continue_()
    steps.connected(reviewer)


def test_a_lost_socket_is_shown_and_what_was_missed_is_fetched(
    reviewer: Page, waiting: Waiting, orders: Iterator[int]
) -> None:
    wire = Wire(reviewer)
    steps.open_queue(reviewer)
    steps.mark(reviewer)
    wire.cut()
    expect(chip(reviewer)).to_have_text("Reconnecting")
    title = waiting(f"refund $2 on order {next(orders)}")["title"]
    expect(steps.row(reviewer, title)).to_have_count(0)
    wire.mend()
    expect(steps.row(reviewer, title)).to_be_visible()
    steps.connected(reviewer)
    steps.not_loaded_again(reviewer)


def test_back_from_offline_the_page_is_live_again(
    reviewer: Page, people: People, waiting: Waiting, orders: Iterator[int]
) -> None:
    people.forgive("ERR_INTERNET_DISCONNECTED|WebSocket connection")
    steps.open_queue(reviewer)
    reviewer.context.set_offline(True)
    expect(chip(reviewer)).to_have_text("Offline")
    title = waiting(f"refund $2 on order {next(orders)}")["title"]
    reviewer.context.set_offline(False)
    steps.connected(reviewer)
    expect(steps.row(reviewer, title)).to_be_visible()


def test_without_any_socket_the_page_asks_by_itself(
    reviewer: Page, stack: Stack, waiting: Waiting, orders: Iterator[int]
) -> None:
    reviewer.clock.install()
    Wire(reviewer).cut()
    reviewer.goto("/t/acme/queue/")
    expect(chip(reviewer)).to_have_text("Reconnecting")
    review = waiting(f"refund $2 on order {next(orders)}")
    reviewer.clock.fast_forward(16_000)
    expect(steps.row(reviewer, review["title"])).to_be_visible()
    decide(stack.person("reviewer2@acme.example"), review, "approve")
    reviewer.clock.fast_forward(16_000)
    expect(steps.row(reviewer, review["title"])).to_have_count(0)


def test_a_conversation_without_a_socket_asks_by_itself(
    member: Page, stack: Stack, waiting: Waiting, orders: Iterator[int]
) -> None:
    review = waiting(f"refund $2 on order {next(orders)}")
    member.clock.install()
    Wire(member).cut()
    member.goto(f"/t/acme/chat/{review['conversation_id']}/")
    expect(chip(member)).to_have_text("Reconnecting")
    decide(stack.person("reviewer@acme.example"), review, "reject", feedback="Not this time.")
    stack.until(str(review["conversation_id"]), "succeeded")
    member.clock.fast_forward(16_000)
    expect(member.locator(".prose").last).to_contain_text("Not this time.")


def test_signed_out_elsewhere_the_page_says_so_and_keeps_what_was_typed(
    people: People, waiting: Waiting, orders: Iterator[int]
) -> None:
    page = people.stranger()
    steps.enter(page, "reviewer2@acme.example")
    open_detail(page, waiting(f"refund $2 on order {next(orders)}"))
    steps.button(page, "Reject").click()
    page.get_by_role("textbox", name="Reason").fill("half a senten")
    page.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Reject and tell the agent").click()
    expect(page.get_by_role("dialog", name="You are signed out")).to_be_visible()
    page.get_by_role("button", name="Not now").click()
    expect(page.get_by_role("textbox", name="Reason")).to_have_value("half a senten")
    people.forgive("status of 40[13]")


# What others do


def test_a_row_that_somebody_else_decided_greys_out_where_it_stands(
    reviewer: Page, stack: Stack, waiting: Waiting, orders: Iterator[int]
) -> None:
    review = waiting(f"refund $2 on order {next(orders)}")
    steps.open_queue(reviewer)
    steps.mark(reviewer)
    mine = reviewer.locator(f"#req-{review['id']}")
    expect(mine).to_be_visible()
    decide(stack.person("reviewer2@acme.example"), review, "approve")
    expect(mine).to_contain_text("Approved by Ravi Reviewer")
    expect(mine).to_have_class(re.compile(r"\bdone\b"))
    steps.not_loaded_again(reviewer)


def test_what_is_typed_survives_changes_and_arrivals(
    reviewer: Page, stack: Stack, waiting: Waiting, orders: Iterator[int]
) -> None:
    review = waiting(f"refund $2 on order {next(orders)}")
    open_detail(reviewer, review)
    steps.button(reviewer, "Reject").click()
    reason = reviewer.get_by_role("textbox", name="Reason")
    reason.press_sequentially("half a sentence")
    for _ in range(5):
        reason.press("ArrowLeft")
    newer = waiting(f"refund $2 on order {next(orders)}")
    expect(steps.row(reviewer, newer["title"])).to_be_visible()
    decide(stack.person("reviewer2@acme.example"), review, "approve")
    expect(reviewer.get_by_text("This request changed since you opened it.")).to_be_visible()
    expect(reviewer.locator("[data-changed-text]")).to_have_text("Approved by Ravi Reviewer")
    expect(reason).to_be_focused()
    expect(reason).to_have_value("half a sentence")
    assert reason.evaluate("(box) => [box.selectionStart, box.selectionEnd]") == [10, 10]


def test_a_message_in_the_making_survives_the_answer_before_it(
    member: Page, stack: Stack, waiting: Waiting, orders: Iterator[int]
) -> None:
    review = waiting(f"refund $2 on order {next(orders)}")
    member.goto(f"/t/acme/chat/{review['conversation_id']}/")
    steps.connected(member)
    box = member.get_by_role("textbox", name="Message")
    box.press_sequentially("and then")
    decide(stack.person("reviewer@acme.example"), review, "approve")
    expect(member.locator(".prose").last).to_contain_text("Refunded $2.00")
    expect(box).to_be_focused()
    expect(box).to_have_value("and then")


def test_the_slower_of_two_reviewers_is_told_who_decided_what_and_when(
    reviewer: Page, people: People, stack: Stack, waiting: Waiting, orders: Iterator[int]
) -> None:
    people.forgive("status of 409")
    review = waiting(f"refund $2 on order {next(orders)}")
    Wire(reviewer).cut()  # nothing warns this page
    reviewer.goto(f"/t/acme/queue/{review['id']}/")
    steps.button(reviewer, "Reject").click()
    reviewer.get_by_role("textbox", name="Reason").fill("Because of the receipt.")
    quicker = people.sign_in("reviewer2@acme.example")
    open_detail(quicker, review)
    steps.button(quicker, "Approve").click()
    steps.decided(quicker, "Approved")
    reviewer.get_by_role("button", name="Reject and tell the agent").click()
    panel = reviewer.get_by_role("group", name="Already decided")
    expect(panel).to_be_focused()
    expect(panel).to_contain_text(re.compile(r"Approved by Ravi Reviewer at \d\d:\d\d:\d\d UTC"))
    expect(reviewer.get_by_role("textbox", name="Reason")).to_have_value("Because of the receipt.")
    expect(reviewer.get_by_role("button", name="Reject and tell the agent")).to_be_hidden()
    panel.get_by_role("link", name="Show it as it is now").click()
    steps.decided(reviewer, "Approved")


# Taking back


def test_the_member_withdraws_and_the_queue_shows_it(
    member: Page, reviewer: Page, waiting: Waiting, orders: Iterator[int]
) -> None:
    review = waiting(f"refund $2 on order {next(orders)}")
    steps.open_queue(reviewer)
    member.goto(f"/t/acme/chat/{review['conversation_id']}/")
    steps.mark(member)
    member.get_by_role("button", name="Withdraw").click()
    expect(member.locator(f"#call-{review['call_id']} .state")).to_contain_text("Withdrawn")
    expect(reviewer.locator(f"#req-{review['id']}")).to_contain_text("Withdrawn")
    expect(member.locator(".prose").last).to_contain_text("not done")
    steps.not_loaded_again(member)


def test_the_member_stops_a_run_that_waits(
    member: Page, reviewer: Page, waiting: Waiting, orders: Iterator[int]
) -> None:
    review = waiting(f"refund $2 on order {next(orders)}")
    steps.open_queue(reviewer)
    member.goto(f"/t/acme/chat/{review['conversation_id']}/")
    steps.mark(member)
    member.get_by_role("button", name="Stop").click()
    expect(member.locator("#talk-head")).to_contain_text("Stopped")
    expect(member.get_by_role("button", name="Stop")).to_have_count(0)
    expect(reviewer.locator(f"#req-{review['id']}.done")).to_be_visible()
    steps.not_loaded_again(member)


@pytest.mark.usefixtures("undo_window")
def test_within_the_window_a_decision_is_taken_back(
    reviewer: Page, people: People, stack: Stack, waiting: Waiting, orders: Iterator[int]
) -> None:
    review = waiting(f"refund $2 on order {next(orders)}")
    other = people.sign_in("reviewer2@acme.example")
    steps.open_queue(other)
    open_detail(reviewer, review)
    steps.mark(reviewer)
    steps.button(reviewer, "Approve").click()
    steps.decided(reviewer, "Approved")
    expect(other.locator(f"#req-{review['id']}.done")).to_be_visible()
    assert stack.requests(str(review["conversation_id"])) == []
    reviewer.get_by_role("button", name="Undo").click()
    expect(steps.button(reviewer, "Approve")).to_be_visible()
    expect(other.locator(f"#req-{review['id']}:not(.done)")).to_be_visible()
    steps.not_loaded_again(reviewer)
    [open_again] = stack.requests(str(review["conversation_id"]))
    assert open_again["id"] == review["id"]
    assert steps.refunded(stack, str(review["call_id"])) == []
