"""A reviewer's whole way without a mouse; and what keys must not do."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.conftest import People
from tests.stack import Stack

Waiting = Callable[..., dict[str, Any]]
NOTE_SUBMITS = """
    window.submits = [];
    document.addEventListener("submit", (event) => { event.preventDefault(); event.stopImmediatePropagation();
      window.submits.push(event.submitter?.value ?? ""); }, { capture: true });
    document.addEventListener("click", (event) => event.target.closest("a") && event.preventDefault(), { capture: true });
"""


@pytest.fixture
def reviewer(people: People) -> Page:
    return people.sign_in("reviewer@acme.example")


def walk_to(page: Page, key: str, title: str) -> None:
    """Press the key until the row is reached."""
    link = steps.queue(page).get_by_role("link", name=title, exact=True)
    for _ in range(60):
        page.keyboard.press(key)
        if link.evaluate("(link) => link === document.activeElement"):
            return
    raise AssertionError(f"{key} never came to {title}")


def test_walk_open_reject_and_approve(reviewer: Page, stack: Stack, waiting: Waiting, orders: Iterator[int]) -> None:
    first, second = (waiting(f"refund $2 on order {next(orders)}") for _ in range(2))
    steps.open_queue(reviewer)
    walk_to(reviewer, "j", second["title"])
    walk_to(reviewer, "k", first["title"])
    reviewer.keyboard.press("Enter")
    expect(reviewer.get_by_role("heading", name=first["title"], level=1)).to_be_focused()
    reviewer.keyboard.press("r")
    expect(reviewer.get_by_role("textbox", name="Reason")).to_be_focused()
    reviewer.keyboard.type("Not without a receipt: jkremuz?")
    reviewer.keyboard.press("Control+Enter")
    steps.decided(reviewer, "Rejected")
    expect(reviewer.locator(".outcome-box")).to_contain_text("Not without a receipt: jkremuz?")
    expect(reviewer.get_by_role("heading", name=first["title"], level=1)).to_be_focused()
    walk_to(reviewer, "j", second["title"])
    reviewer.keyboard.press("Enter")
    expect(reviewer.get_by_role("heading", name=second["title"], level=1)).to_be_focused()
    reviewer.keyboard.press("Control+Enter")
    steps.decided(reviewer, "Approved")
    stack.until(str(second["conversation_id"]), "succeeded")
    assert steps.refunded(stack, str(second["call_id"])) == ["2.00"]


def test_no_single_key_sends_anything(reviewer: Page, waiting: Waiting, orders: Iterator[int]) -> None:
    reviewer.goto(f"/t/acme/queue/{waiting(f'refund $2 on order {next(orders)}')['id']}/")
    steps.connected(reviewer)
    reviewer.evaluate(NOTE_SUBMITS)
    for key in [*string.ascii_letters, *string.digits, "Enter", "Space", "Shift+Enter"]:
        reviewer.locator("#title").focus()
        reviewer.keyboard.press(key)
        reviewer.keyboard.press("Escape")
    assert reviewer.evaluate("window.submits") == []
    reviewer.locator("#title").focus()
    reviewer.keyboard.press("Control+Enter")  # so the count would have noticed
    assert reviewer.evaluate("window.submits") == ["approve"]


def test_keys_are_silent_while_typing_and_can_be_switched_off(
    reviewer: Page, waiting: Waiting, orders: Iterator[int]
) -> None:
    review = waiting(f"refund $2 on order {next(orders)}")
    reviewer.goto(f"/t/acme/queue/{review['id']}/")
    steps.connected(reviewer)
    reviewer.keyboard.press("m")
    answer = reviewer.get_by_role("textbox", name="Answer")
    expect(answer).to_be_focused()
    reviewer.keyboard.type("jkremu?gq")
    expect(answer).to_have_value("jkremu?gq")
    expect(reviewer.get_by_role("dialog")).to_have_count(0)
    reviewer.keyboard.press("Escape")
    expect(steps.button(reviewer, "Respond")).to_be_focused()

    reviewer.keyboard.press("?")
    shortcuts = reviewer.get_by_role("dialog", name="Keyboard shortcuts")
    expect(shortcuts).to_contain_text("Reject: opens the reason")
    shortcuts.get_by_role("checkbox").uncheck()
    shortcuts.get_by_role("button", name="Close").click()
    reviewer.keyboard.press("r")
    expect(reviewer.get_by_role("textbox", name="Reason")).to_be_hidden()
    expect(steps.button(reviewer, "Approve")).to_be_visible()


def test_enter_sends_a_message_and_shift_enter_breaks_the_line(people: People, orders: Iterator[int]) -> None:
    page = people.sign_in("member@acme.example")
    steps.ask(page, f"show order {next(orders)}")
    steps.connected(page)
    steps.mark(page)
    box = page.get_by_role("textbox", name="Message")
    box.press_sequentially("show order")
    box.press("Shift+Enter")
    box.press_sequentially("1041")
    box.press("Enter")
    expect(page.locator(".said-by-user").last).to_have_text("show order\n1041")
    expect(box).to_have_value("")
    expect(box).to_be_focused()
    expect(page.locator(".prose").last).to_contain_text("Order 1041 is delivered")
    steps.not_loaded_again(page)
