"""`python -m tests.browser.pictures`: drive a fresh installation and save what it looks like to docs/pictures/."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

import tests.postgres  # noqa: F401  # before Django's settings: names the tests' own PostgreSQL
from tests.browser import steps
from tests.browser.conftest import ARGUMENTS, People
from tests.browser.install import ADVICE, find_chromium
from tests.stack import CHECKOUT, Stack, decide, running

FOLDER = CHECKOUT / "docs" / "pictures"
LARGEST = 200_000  # bytes
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DARK = {"color_scheme": "dark"}
MEMBER, REVIEWER = "member@acme.example", "reviewer@acme.example"


class Album:
    """Takes pictures of one installation."""

    def __init__(self, people: People, stack: Stack, folder: Path) -> None:
        self.people = people
        self.stack = stack
        self.folder = folder

    def take(self, name: str, page: Page) -> None:
        page.evaluate("document.fonts.ready")
        path = self.folder / f"{name}.png"
        page.screenshot(path=path, animations="disabled", caret="hide")
        size = path.stat().st_size
        assert size < LARGEST, f"{path} has {size} bytes"
        print(f"{path.relative_to(CHECKOUT) if path.is_relative_to(CHECKOUT) else path}  {size:,}")

    def person(self, email: str, path: str, **options: Any) -> Page:
        page = self.people.sign_in(email, **options)
        page.goto(path)
        return page

    def ask(self, text: str, agent: str = "Support desk") -> list[dict[str, Any]]:
        conversation = self.stack.person(MEMBER).start(text, agent=agent)
        self.stack.settled(conversation)
        return self.stack.requests(conversation)

    def all(self) -> None:
        for step in (self.doors, self.empty, self.work, self.hostile, self.operators):
            step()

    def doors(self) -> None:
        for suffix, options in (("", {}), ("-dark", DARK), ("-phone", PHONE)):
            page = self.people.stranger(**options)
            page.goto("/accounts/login/")
            self.take(f"sign-in{suffix}", page)

    def empty(self) -> None:
        self.take("queue-empty", self.person(REVIEWER, "/t/acme/queue/"))
        self.take("chat-new", self.person(MEMBER, "/t/acme/chat/"))

    def work(self) -> None:
        refunds = self.ask("Refund $20 on orders 1041 and 1042 because the parcel came late")
        [mail] = self.ask("Email the customer of order 1042 about the delay")
        self.ask("Change the address of order 1044 to 5 Main Street, 53113 Bonn, Germany")
        [item] = self.ask("Write about the new repair service in our Berlin shop", agent="Newsroom")
        refund, other = sorted(refunds, key=lambda each: str(each["title"]))
        chat, detail = f"/t/acme/chat/{refund['conversation_id']}/", f"/t/acme/queue/{refund['id']}/"

        for suffix, options in (("", {}), ("-dark", DARK), ("-phone", PHONE)):
            for name, email, path, act in (
                ("queue", REVIEWER, "/t/acme/queue/", None),
                ("detail", REVIEWER, detail, None),
                ("edit", REVIEWER, detail, edit),
                ("newsroom", REVIEWER, f"/t/acme/queue/{item['id']}/", to_state),
                ("chat-waiting", MEMBER, chat, None),
            ):
                page = self.person(email, path, **options)
                steps.connected(page)
                self._do(act, page)
                self.take(f"{name}{suffix}", page)

        late = self.person(REVIEWER, f"/t/acme/queue/{mail['id']}/")
        late.route_web_socket("**/ws/**", lambda socket: socket.close(code=1013))
        late.reload()
        decide(self.stack.person("reviewer2@acme.example"), mail, "approve")
        steps.button(late, "Approve").click()
        expect(late.get_by_role("group", name="Already decided")).to_be_visible()
        self.take("conflict", late)

        page = self.person(REVIEWER, detail)
        edit(page)
        steps.button(page, "Approve").click()
        steps.decided(page, "Approved with edits")
        decide(self.stack.person(REVIEWER), other, "reject", feedback="Order 1042 was returned unpaid.")
        self.stack.until(str(refund["conversation_id"]), "succeeded")
        for suffix, options in (("", {}), ("-dark", DARK), ("-phone", PHONE)):
            done = self.person(MEMBER, chat, **options)
            expect(done.locator(".prose").last).to_be_visible()
            self.take(f"chat-done{suffix}", done)
        self.take("decided", self.person(REVIEWER, detail))
        self.take("queue-decided", self.person(REVIEWER, "/t/acme/queue/?status=decided"))

    def hostile(self) -> None:
        text = "Email mallory@example.com: <b>Invoice</b> \u202efdp.exe\u202c zero\u200bwidth " + "long" * 60
        [mail] = self.ask(text)
        for suffix, options in (("", {}), ("-phone", PHONE)):
            self.take(f"hostile{suffix}", self.person(REVIEWER, f"/t/acme/queue/{mail['id']}/", **options))

    def operators(self) -> None:
        for suffix, options in (("", {}), ("-dark", DARK), ("-phone", PHONE)):
            for name, path in (("admin", "/admin/"), ("admin-requests", "/admin/reviews/reviewrequest/")):
                self.take(f"{name}{suffix}", self.person("operator@gatehouse.example", path, **options))

    @staticmethod
    def _do(act: Callable[[Page], None] | None, page: Page) -> None:
        if act:
            act(page)


def edit(page: Page) -> None:
    steps.button(page, "Edit").click()
    page.get_by_role("textbox", name="amount").fill("12.50")
    expect(steps.button(page, "Approve")).to_be_enabled()


def to_state(page: Page) -> None:
    page.get_by_role("radio", name="publish").check()
    page.get_by_role("textbox", name="draft").scroll_into_view_if_needed()


def main(folder: Path = FOLDER) -> None:
    path = find_chromium()
    if path is None:
        sys.exit(ADVICE)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as logs, running(Path(logs)) as stack, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        Album(People(browser, stack), stack, folder).all()
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
