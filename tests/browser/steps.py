"""What people do on the pages, by the names that a screen reader would say."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.stack import PASSWORD, Stack

LONG_ENOUGH = re.compile(r"\w+ \w+")


def enter(page: Page, email: str) -> None:
    """Sign in with the form."""
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/t/**")


def ask(page: Page, text: str, *, agent: str = "Support desk", tenant: str = "acme") -> str:
    """Begin a conversation; returns its id."""
    page.goto(f"/t/{tenant}/chat/")
    page.get_by_role("radio", name=agent).check()
    say(page, text)
    page.wait_for_url(re.compile("/chat/[0-9a-f-]{36}/"))
    return page.url.rstrip("/").rsplit("/", 1)[1]


def say(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message").fill(text)
    page.get_by_role("button", name="Send").click()


def open_queue(page: Page, tenant: str = "acme") -> None:
    page.goto(f"/t/{tenant}/queue/")
    connected(page)


def connected(page: Page) -> None:
    expect(page.locator("[data-live]").first).to_have_attribute("data-state", "live")


def queue(page: Page) -> Locator:
    return page.get_by_role("list", name="Review queue")


def row(page: Page, title: str) -> Locator:
    return queue(page).get_by_role("listitem").filter(has_text=title)


def open_request(page: Page, title: str) -> None:
    """From the open queue, without loading another page."""
    queue(page).get_by_role("link", name=title, exact=True).click()
    expect(page.get_by_role("heading", name=title, level=1)).to_be_visible()


def button(page: Page, begins: str) -> Locator:
    """The button that can be seen and whose name begins so."""
    return page.get_by_role("button", name=re.compile(f"^{begins}"))


def decided(page: Page, label: str) -> None:
    expect(page.locator("#outcome")).to_have_text(label)


def call_id(stack: Stack, title: str) -> str:
    """The call of the newest request of this title."""
    query = "SELECT call_id::text FROM reviews_reviewrequest WHERE title = %s ORDER BY created_at DESC LIMIT 1"
    return str(stack.row(query, title)["call_id"])


def refunded(stack: Stack, call: str) -> list[str]:
    """The amounts that the payment provider paid for this call."""
    found = stack.rows("SELECT amount::text FROM shop.refunds WHERE idempotency_key LIKE %s", f"{call}%")
    return [each["amount"] for each in found]


def mark(page: Page) -> None:
    """So that a load of the page would be noticed."""
    page.evaluate("document.documentElement.dataset.marked = '1'")


def not_loaded_again(page: Page) -> None:
    expect(page.locator("html[data-marked]")).to_have_count(1)
