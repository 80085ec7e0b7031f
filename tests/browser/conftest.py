"""People in browsers: each in a context of their own, on the one running installation.

Chromium is started for each module and stopped with it: Playwright's loop runs in this very thread, where the asynchronous
tests of other modules need one of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.browser.install import ADVICE, find_chromium
from tests.stack import Stack

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
DEADLINE = 15_000  # ms; nothing is expected to take long, machines may be busy
REPORT_VIOLATIONS = """
    document.addEventListener("securitypolicyviolation", (event) =>
        console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile} ${event.sample}`));
"""


class People:
    """Signs people in, and remembers what their browsers complained about."""

    def __init__(self, browser: Browser, stack: Stack) -> None:
        self.browser = browser
        self.stack = stack
        self.complaints: list[str] = []
        self._contexts: list[BrowserContext] = []
        self._forgiven: list[str] = []

    def sign_in(self, email: str, **options: Any) -> Page:
        """A page of this person, signed in, in a context of its own; `options` are those of a browser context."""
        page = self.stranger(**options)
        session = self.stack.person(email).cookies.jar
        page.context.add_cookies(
            [{"name": each.name, "value": str(each.value), "url": self.stack.url} for each in session]
        )
        return page

    def stranger(self, **options: Any) -> Page:
        """A page of somebody who is not signed in."""
        wanted = {"viewport": {"width": 1400, "height": 900}, "reduced_motion": "reduce", **options}
        context = self.browser.new_context(base_url=self.stack.url, **wanted)
        self._contexts.append(context)
        context.set_default_timeout(DEADLINE)
        if wanted.get("java_script_enabled", True):
            context.add_init_script(REPORT_VIOLATIONS)
        context.on("page", self._watch)
        return context.new_page()

    def forgive(self, pattern: str) -> None:
        """What this test provokes, as a pattern of the console's words."""
        self._forgiven.append(pattern)

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def unforgiven(self) -> list[str]:
        return [said for said in self.complaints if not any(re.search(each, said) for each in self._forgiven)]

    def _watch(self, page: Page) -> None:
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")


@pytest.fixture(scope="session")
def stack(shared_stack: Stack) -> Stack:
    return shared_stack


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        pytest.skip(ADVICE)
    expect.set_options(timeout=DEADLINE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def people(chromium: Browser, stack: Stack) -> Iterator[People]:
    """Fails the test whose browsers complained: errors, exceptions, violations of the Content Security Policy."""
    here = People(chromium, stack)
    yield here
    here.close()
    assert here.unforgiven() == []


@pytest.fixture
def sign_in(people: People) -> Callable[..., Page]:
    return people.sign_in


@pytest.fixture
def waiting(stack: Stack) -> Iterator[Callable[..., dict[str, Any]]]:
    """Sends a message over HTTP as the member; returns the request that waits then. What is left open is stopped."""
    begun: list[str] = []

    def ask(text: str, agent: str = "Support desk") -> dict[str, Any]:
        begun.append(stack.person("member@acme.example").start(text, agent=agent))
        assert stack.settled(begun[-1])["status"] == "waiting"
        return stack.requests(begun[-1])[0]

    yield ask
    for conversation in begun:
        stack.person("member@acme.example").submit(f"/t/acme/chat/{conversation}/stop/")


@pytest.fixture(scope="session")
def orders() -> Iterator[int]:
    """Numbers of orders that no other test speaks of."""
    return iter(number for number in count(1120) if number < 1175)
