"""What people wait for, in real pages: a Chromium for the member's chat and the reviewer's queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.bench.product import CHAT, QUEUE, prompt
from tests.browser.install import find_chromium, install_chromium
from tests.stack import Stack

LONGEST_WAIT = 20_000  # milliseconds

# The clock starts where the event begins, and stops when the frame that shows the text has been made.
NOTE_CLICKS = """() => addEventListener("click", (event) => {
    window.clickedAt = performance.timeOrigin + event.timeStamp;
}, {capture: true})"""
NOTE_TEXT = """([selector, text, patience]) => {
    window.shown = new Promise((shown, fail) => {
        const look = () => {
            const found = [...document.querySelectorAll(selector)].some((each) =>
                each.textContent.includes(text) && each.checkVisibility());
            if (!found) return;
            observer.disconnect();
            requestAnimationFrame(() => setTimeout(() => shown(performance.timeOrigin + performance.now())));
        };
        const observer = new MutationObserver(look);
        observer.observe(document.body, {subtree: true, childList: true, characterData: true, attributes: true});
        setTimeout(() => fail(new Error(`not shown: ${text}`)), patience);
        look();
    });
}"""


def waits(stack: Stack, *, number: int) -> Mapping[str, list[float]]:
    """Seconds from Send to the request in an open queue, and from Approve to the result in the open chat."""
    to_queue: list[float] = []
    to_chat: list[float] = []
    with _chromium() as browser:
        chat, queue, detail = (
            _page(browser, stack, email)
            for email in ("member@acme.example", "reviewer@acme.example", "reviewer2@acme.example")
        )
        _open_chat(chat, stack)
        queue.goto(f"{stack.url}{QUEUE}")
        for turn in range(-2, number):
            asked, told = _turn(chat, queue, detail, f"wait-{turn + 2}")
            if turn >= 0:  # the first ones warm up
                to_queue.append(asked)
                to_chat.append(told)
    return {"Send, until the open queue shows it": to_queue, "Approve, until the open chat shows the result": to_chat}


def _turn(chat: Page, queue: Page, detail: Page, name: str) -> tuple[float, float]:
    queue.evaluate(NOTE_TEXT, ["#queue-rows a", f"{name}@", LONGEST_WAIT])
    chat.fill("#draft", prompt(name))
    asked = _seconds(chat, "[data-send]", queue)
    detail.goto(queue.url)
    detail.click(f"#queue-rows a:has-text('{name}@')")
    detail.wait_for_selector("#approve-form button.approve:visible")
    chat.evaluate(NOTE_TEXT, ["#turns .prose", f"Sent to {name}@", LONGEST_WAIT])
    return asked, _seconds(detail, "#approve-form button.approve:visible", chat)


def _seconds(clicked: Page, button: str, shown: Page) -> float:
    clicked.click(button)
    shown_at = shown.evaluate("() => window.shown")
    return (shown_at - clicked.evaluate("() => window.clickedAt")) / 1000


def _open_chat(chat: Page, stack: Stack) -> None:
    begun = stack.person("member@acme.example").start("Hello")
    stack.settled(begun)
    chat.goto(f"{stack.url}{CHAT}{begun}/")


@contextmanager
def _chromium() -> Iterator[Browser]:
    path = find_chromium() or install_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def _page(browser: Browser, stack: Stack, email: str) -> Page:
    context: BrowserContext = browser.new_context(viewport={"width": 1280, "height": 900})
    cookies: list[Any] = [
        {"name": name, "value": value, "url": stack.url} for name, value in stack.person(email).cookies.items()
    ]
    context.add_cookies(cookies)
    page = context.new_page()
    page.add_init_script(f"({NOTE_CLICKS})()")
    return page
