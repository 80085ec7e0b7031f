"""Every step of the main job as plain forms, in browsers that run no script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.conftest import People
from tests.stack import Stack

Waiting = Callable[..., dict[str, Any]]


@pytest.fixture
def reviewer(people: People) -> Page:
    return people.sign_in("reviewer@acme.example", java_script_enabled=False)


def open_from_queue(page: Page, review: dict[str, Any]) -> None:
    page.goto("/t/acme/queue/")
    page.locator(f"#req-{review['id']}").get_by_role("link").click()
    expect(page.get_by_role("heading", name=review["title"], level=1)).to_be_visible()


def test_sign_in_ask_and_approve(people: People, stack: Stack, orders: Iterator[int]) -> None:
    member, reviewer = (people.stranger(java_script_enabled=False) for _ in range(2))
    steps.enter(member, "member@acme.example")
    conversation = steps.ask(member, f"refund $2 on order {next(orders)}")
    assert stack.settled(conversation)["status"] == "waiting"
    member.reload()
    expect(member.locator(".call.wn")).to_be_visible()
    steps.enter(reviewer, "reviewer@acme.example")
    open_from_queue(reviewer, stack.requests(conversation)[0])
    steps.button(reviewer, "Approve").click()
    steps.decided(reviewer, "Approved")
    stack.until(conversation, "succeeded")
    member.reload()
    expect(member.locator(".prose").last).to_contain_text("Refunded $2.00")


def test_edit_through_a_preview(reviewer: Page, stack: Stack, waiting: Waiting, orders: Iterator[int]) -> None:
    review = waiting(f"refund $9 on order {next(orders)}")
    open_from_queue(reviewer, review)
    steps.button(reviewer, "Edit").click()
    reviewer.get_by_role("textbox", name="amount").fill("1.25")
    expect(reviewer.locator("#edit-panel").get_by_role("button", name="Approve")).to_have_count(0)
    reviewer.get_by_role("button", name="Preview changes").click()
    expect(reviewer.locator("#edit-preview ins")).to_have_text("now 1.25")
    reviewer.get_by_role("button", name="Approve refund of $1.25").click()
    steps.decided(reviewer, "Approved with edits")
    stack.until(str(review["conversation_id"]), "succeeded")
    assert steps.refunded(stack, str(review["call_id"])) == ["1.25"]


@pytest.mark.parametrize(
    ("opens", "field", "sends", "outcome"),
    [
        ("Reject", "Reason", "Reject and tell the agent", "Rejected"),
        ("Respond", "Answer", "Respond to the agent", "Answered"),
    ],
)
def test_reject_and_respond(
    reviewer: Page,
    stack: Stack,
    waiting: Waiting,
    orders: Iterator[int],
    opens: str,
    field: str,
    sends: str,
    outcome: str,
) -> None:
    review = waiting(f"refund $2 on order {next(orders)}")
    open_from_queue(reviewer, review)
    steps.button(reviewer, opens).click()
    reviewer.get_by_role("textbox", name=field).fill("Ask again next week.")
    reviewer.get_by_role("button", name=sends).click()
    steps.decided(reviewer, outcome)
    expect(reviewer.locator(".outcome-box")).to_contain_text("Ask again next week.")
    stack.until(str(review["conversation_id"]), "succeeded")
    assert steps.refunded(stack, str(review["call_id"])) == []


def test_an_empty_reason_comes_back_with_the_panel_open(
    people: People, reviewer: Page, waiting: Waiting, orders: Iterator[int]
) -> None:
    people.forgive("status of 422")
    open_from_queue(reviewer, waiting(f"refund $2 on order {next(orders)}"))
    steps.button(reviewer, "Reject").click()
    reviewer.get_by_role("button", name="Reject and tell the agent").click()
    expect(reviewer.get_by_role("textbox", name="Reason")).to_be_visible()
    expect(reviewer.get_by_role("group", name="Not sent")).to_be_visible()


def test_the_newsroom_is_answered(reviewer: Page, stack: Stack, waiting: Waiting, people: People) -> None:
    review = waiting("Write about the tool library", agent="Newsroom")
    open_from_queue(reviewer, review)
    reviewer.get_by_role("textbox", name="headline").fill("Borrow a drill")
    reviewer.get_by_role("radio", name="publish").check()
    steps.button(reviewer, "Respond").click()
    steps.decided(reviewer, "Answered")
    stack.until(str(review["conversation_id"]), "succeeded")
    member = people.sign_in("member@acme.example", java_script_enabled=False)
    member.goto(f"/t/acme/chat/{review['conversation_id']}/")
    expect(member.locator(".prose").last).to_contain_text("Borrow a drill")


def test_withdraw_theme_and_sign_out(people: People, stack: Stack, waiting: Waiting, orders: Iterator[int]) -> None:
    review = waiting(f"refund $2 on order {next(orders)}")
    page = people.stranger(java_script_enabled=False)
    steps.enter(page, "member@acme.example")
    page.goto(f"/t/acme/chat/{review['conversation_id']}/")
    page.get_by_role("button", name="Withdraw").click()
    expect(page.locator(f"#call-{review['call_id']} .state")).to_contain_text("Withdrawn")
    chat = page.url
    for theme in ("dark", "system"):
        page.goto(chat)  # a whole page: without scripts nothing says when the one after a form has its styles
        page.get_by_role("button", name="Account: Maya Member").click()
        page.get_by_role("button", name=theme.title()).click()
        expect(page.locator("html")).to_have_attribute("data-theme", theme)
    page.goto(chat)
    page.get_by_role("button", name="Account: Maya Member").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
