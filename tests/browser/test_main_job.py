"""The main job with people in browsers: asked in the chat, paused, decided in the queue, seen in the chat, all live."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.conftest import People
from tests.stack import Stack


@pytest.fixture
def member(sign_in: Callable[..., Page]) -> Page:
    return sign_in("member@acme.example")


@pytest.fixture
def reviewer(sign_in: Callable[..., Page]) -> Page:
    """With the queue open; nothing in these tests loads this page again."""
    page = sign_in("reviewer@acme.example")
    steps.open_queue(page)
    steps.mark(page)
    return page


def ask_and_watch(member: Page, text: str, agent: str = "Support desk") -> str:
    conversation = steps.ask(member, text, agent=agent)
    steps.mark(member)
    expect(member.locator(".call.wn").first).to_be_visible()
    return conversation


def test_the_form_signs_in(people: People) -> None:
    page = people.stranger()
    steps.enter(page, "member@acme.example")
    expect(page.get_by_role("heading", name="Chat", level=1)).to_be_visible()


def test_approved_and_done_without_a_reload(member: Page, reviewer: Page, stack: Stack, orders: Iterator[int]) -> None:
    order = next(orders)
    title = f"Refund $5.00 on order {order}"
    ask_and_watch(member, f"refund $5 on order {order}")
    expect(member.get_by_text("A request waits for review.")).to_be_visible()
    steps.open_request(reviewer, title)
    reviewer.get_by_role("button", name=f"Approve refund of $5.00 on order {order}").click()
    steps.decided(reviewer, "Approved")
    expect(steps.row(reviewer, title)).to_contain_text("Approved by Rosa Reviewer")
    expect(member.locator(".prose").last).to_contain_text(f"Refunded $5.00 on order {order}.")
    expect(member.get_by_text("A request waits for review.")).to_be_hidden()
    steps.not_loaded_again(member)
    steps.not_loaded_again(reviewer)
    assert steps.refunded(stack, steps.call_id(stack, title)) == ["5.00"]


def test_an_edit_is_what_runs_and_the_chat_shows_the_difference(
    member: Page, reviewer: Page, stack: Stack, orders: Iterator[int]
) -> None:
    order = next(orders)
    title = f"Refund $9.00 on order {order}"
    ask_and_watch(member, f"refund $9 on order {order}")
    steps.open_request(reviewer, title)
    steps.button(reviewer, "Edit").click()
    reviewer.get_by_role("textbox", name="amount").fill("4.50")
    reviewer.get_by_role("button", name=f"Approve refund of $4.50 on order {order}").click()
    steps.decided(reviewer, "Approved with edits")
    compared = member.get_by_role("table", name="Arguments of issue_refund, asked and run")
    expect(compared.get_by_role("deletion")).to_have_text("9")
    expect(compared.get_by_role("insertion")).to_have_text("4.5")
    expect(member.locator(".prose").last).to_contain_text(f"Refunded $4.50 on order {order}.")
    steps.not_loaded_again(member)
    steps.not_loaded_again(reviewer)
    assert steps.refunded(stack, steps.call_id(stack, title)) == ["4.50"]


def test_an_edit_that_changed_after_its_preview_cannot_be_approved(
    member: Page, reviewer: Page, people: People, stack: Stack, orders: Iterator[int]
) -> None:
    people.forgive("status of 422")
    order = next(orders)
    title = f"Refund $8.00 on order {order}"
    ask_and_watch(member, f"refund $8 on order {order}")
    steps.open_request(reviewer, title)
    steps.button(reviewer, "Edit").click()
    amount = reviewer.get_by_role("textbox", name="amount")
    amount.fill("3")
    expect(reviewer.get_by_role("button", name=f"Approve refund of $3.00 on order {order}")).to_be_enabled()
    amount.fill("-3")
    expect(reviewer.locator("#edit-preview .err")).to_contain_text("amount")
    expect(steps.button(reviewer, "Approve")).to_have_count(0)
    assert steps.refunded(stack, steps.call_id(stack, title)) == []
    reviewer.get_by_role("link", name="Cancel").click()
    reviewer.get_by_role("button", name=f"Approve refund of $8.00 on order {order}").click()
    expect(member.locator(".prose").last).to_contain_text(f"Refunded $8.00 on order {order}.")


def test_the_agent_repeats_why_it_was_rejected(
    member: Page, reviewer: Page, stack: Stack, orders: Iterator[int]
) -> None:
    order = next(orders)
    title = f"Refund $6.00 on order {order}"
    ask_and_watch(member, f"refund $6 on order {order}")
    steps.open_request(reviewer, title)
    steps.button(reviewer, "Reject").click()
    expect(reviewer.get_by_role("textbox", name="Reason")).to_be_focused()
    reviewer.get_by_role("textbox", name="Reason").fill("The parcel was never returned.")
    reviewer.get_by_role("button", name="Reject and tell the agent").click()
    steps.decided(reviewer, "Rejected")
    expect(member.locator(".prose").last).to_contain_text("The parcel was never returned.")
    expect(member.locator(".call.bd .state")).to_contain_text("Rejected")
    steps.not_loaded_again(member)
    assert steps.refunded(stack, steps.call_id(stack, title)) == []


def test_an_answer_takes_the_place_of_the_result(
    member: Page, reviewer: Page, stack: Stack, orders: Iterator[int]
) -> None:
    order = next(orders)
    title = f"Refund $7.00 on order {order}"
    ask_and_watch(member, f"refund $7 on order {order}")
    steps.open_request(reviewer, title)
    steps.button(reviewer, "Respond").click()
    reviewer.get_by_role("textbox", name="Answer").fill("Paid by hand at the till this morning.")
    reviewer.get_by_role("button", name="Respond to the agent").click()
    steps.decided(reviewer, "Answered")
    expect(member.locator(".prose").last).to_contain_text("Paid by hand at the till this morning.")
    assert steps.refunded(stack, steps.call_id(stack, title)) == []


def test_an_empty_reason_is_refused_and_the_field_has_the_word(
    member: Page, reviewer: Page, people: People, orders: Iterator[int]
) -> None:
    people.forgive("status of 422")
    order = next(orders)
    ask_and_watch(member, f"refund $3 on order {order}")
    steps.open_request(reviewer, f"Refund $3.00 on order {order}")
    steps.button(reviewer, "Reject").click()
    reviewer.get_by_role("button", name="Reject and tell the agent").click()
    expect(reviewer.get_by_role("group", name="Not sent")).to_be_focused()
    reviewer.get_by_role("textbox", name="Reason").fill("No receipt.")
    reviewer.get_by_role("button", name="Reject and tell the agent").click()
    steps.decided(reviewer, "Rejected")


def test_two_calls_of_one_message_are_decided_apart(
    member: Page, reviewer: Page, stack: Stack, orders: Iterator[int]
) -> None:
    first, second = next(orders), next(orders)
    ask_and_watch(member, f"refund $3 on orders {first} and {second}")
    expect(member.get_by_text("2 requests wait for review.")).to_be_visible()
    steps.open_request(reviewer, f"Refund $3.00 on order {first}")
    steps.button(reviewer, "Approve").click()
    steps.decided(reviewer, "Approved")
    steps.open_request(reviewer, f"Refund $3.00 on order {second}")
    steps.button(reviewer, "Reject").click()
    reviewer.get_by_role("textbox", name="Reason").fill("Only the first one.")
    reviewer.get_by_role("button", name="Reject and tell the agent").click()
    steps.decided(reviewer, "Rejected")
    report = member.locator(".prose").last
    expect(report).to_contain_text(f"Refunded $3.00 on order {first}.")
    expect(report).to_contain_text("Only the first one.")
    assert steps.refunded(stack, steps.call_id(stack, f"Refund $3.00 on order {first}")) == ["3.00"]
    assert steps.refunded(stack, steps.call_id(stack, f"Refund $3.00 on order {second}")) == []


def test_the_newsroom_publishes_what_the_reviewer_made_of_the_draft(member: Page, reviewer: Page, stack: Stack) -> None:
    conversation = ask_and_watch(member, "Write about the bicycle workshop", agent="Newsroom")
    [review] = stack.requests(conversation)
    reviewer.locator(f"#req-{review['id']}").get_by_role("link").click()
    draft = reviewer.get_by_role("textbox", name="draft")
    expect(draft).to_have_value(steps.LONG_ENOUGH)
    draft.fill("We mend bicycles, every Tuesday.")
    reviewer.get_by_role("radio", name="publish").check()
    reviewer.get_by_role("textbox", name="Note").fill("Shorter.")
    steps.button(reviewer, "Respond").click()
    expect(reviewer.get_by_role("heading", name="Answered")).to_be_visible()
    published = member.locator(".prose").last
    expect(published).to_contain_text("Published:")
    expect(published).to_contain_text("We mend bicycles, every Tuesday.")
    expect(published).to_contain_text("The editor's note: Shorter.")
    steps.not_loaded_again(member)


def test_another_tenant_sees_nothing_of_it(
    member: Page, reviewer: Page, sign_in: Callable[..., Page], people: People, stack: Stack, orders: Iterator[int]
) -> None:
    people.forgive("status of 404")
    stranger = sign_in("reviewer@globex.example")
    steps.open_queue(stranger, "globex")
    steps.mark(stranger)
    neighbour = sign_in("member@globex.example")
    order = next(orders)
    theirs = steps.ask(neighbour, f"refund $2 on order {order}", tenant="globex")
    expect(steps.row(stranger, f"Refund $2.00 on order {order}")).to_be_visible()  # their own, and live

    order = next(orders)
    title = f"Refund $5.00 on order {order}"
    conversation = ask_and_watch(member, f"refund $5 on order {order}")
    [review] = stack.requests(conversation)
    steps.open_request(reviewer, title)
    steps.button(reviewer, "Approve").click()
    expect(member.locator(".prose").last).to_contain_text(f"Refunded $5.00 on order {order}.")

    # What comes after it in their tenant is there, so what came before it was not held up: it never came.
    steps.say(neighbour, "refund $1 on order 1119")
    expect(neighbour.get_by_text("2 requests").or_(neighbour.get_by_text("Queued")).first).to_be_visible()
    for page in (stranger, neighbour):
        expect(page.get_by_text(str(order))).to_have_count(0)
    for path in (
        f"/t/acme/queue/{review['id']}/",
        f"/t/globex/queue/{review['id']}/",
        f"/t/globex/chat/{conversation}/",
    ):
        answer = stranger.goto(path)
        assert answer
        assert answer.status == 404, path
    stack.person("member@globex.example").submit(f"/t/globex/chat/{theirs}/stop/")
