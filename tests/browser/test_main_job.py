"""The main job with people in browsers: asked in the chat, paused, decided in the queue, seen in the chat, all live."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.stack import Stack

SignIn = Callable[..., Page]


@pytest.fixture
def member(sign_in: SignIn) -> Page:
    return sign_in("member@acme.example")


@pytest.fixture
def reviewer(sign_in: SignIn) -> Page:
    page = sign_in("reviewer@acme.example")
    steps.open_queue(page)
    steps.mark(page)
    return page


def ask_and_watch(member: Page, text: str, **where: str) -> None:
    steps.ask(member, text, **where)
    steps.mark(member)
    expect(member.get_by_text("Waiting for review").first).to_be_visible()


def test_the_form_signs_in(people: object, chromium: object, stack: Stack, sign_in: SignIn) -> None:
    page = people.stranger()  # type: ignore[attr-defined]
    steps.enter(page, "member@acme.example")
    expect(page.get_by_role("heading", name="Chat", level=1)).to_be_visible()


def test_approved_without_a_reload_anywhere(
    member: Page, reviewer: Page, stack: Stack, orders: Iterator[int]
) -> None:
    order = next(orders)
    title = f"Refund $5.00 on order {order}"
    ask_and_watch(member, f"refund $5 on order {order}")
    expect(member.get_by_text("A request waits for review.")).to_be_visible()
    steps.open_request(reviewer, title)
    reviewer.get_by_role("button", name=f"Approve refund of $5.00 on order {order}").click()
    steps.decided(reviewer, "Approved")
    expect(steps.row(reviewer, title)).to_contain_text("Approved by Rosa Reviewer")
    expect(member.get_by_text(f"Refunded $5.00 on order {order}.").last).to_be_visible()
    expect(member.get_by_text("A request waits for review.")).to_be_hidden()
    steps.not_loaded_again(member)
    steps.not_loaded_again(reviewer)
    assert steps.refunded(stack, steps.call_id(stack, title)) == ["5.00"]
