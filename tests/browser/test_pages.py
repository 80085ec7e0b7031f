"""Every page: accessible, within the screen, under the exact policy, and unmoved by hostile text."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.template.loader import render_to_string
from django.test import RequestFactory
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.conftest import People
from tests.stack import CHECKOUT, Stack, decide

Waiting = Callable[..., dict[str, Any]]
AXE = (Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
CSP = {"Content-Security-Policy": POLICY}
HOSTILE = (
    "Email mallory@example.com: <script>window.ran = 1</script><img src=x onerror='window.ran = 1'> "
    "{{ 7|add:7 }} <div hx-get='/accounts/logout/' hx-trigger='load'> [click](javascript:window.ran=1) "
    "\u202etxt.exe\u202c zero\u200bwidth " + "A" * 2000
)


@pytest.fixture
def reviewer(people: People) -> Page:
    return people.sign_in("reviewer@acme.example")


def violations(page: Page) -> list[str]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = page.evaluate("(rules) => axe.run(document, { runOnly: rules, resultTypes: ['violations'] })", RULES)
    return [f"{each['id']}: {node['html'][:120]}" for each in found["violations"] for node in each["nodes"]]


def overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def examine(page: Page) -> None:
    """In both themes, wide and narrow."""
    for width in (1400, 390):
        page.set_viewport_size({"width": width, "height": 844})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            assert violations(page) == [], f"{page.url} {scheme} {width}"
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 700})
        assert overflow(page) == 0, f"{page.url} {width}"


def test_sign_in(people: People) -> None:
    page = people.stranger()
    page.goto("/accounts/login/")
    examine(page)


def test_chat(people: People, waiting: Waiting, orders: Iterator[int]) -> None:
    review = waiting(f"refund $2 on orders {next(orders)} and {next(orders)}")
    page = people.sign_in("member@acme.example")
    page.goto("/t/acme/chat/")
    examine(page)
    page.goto(f"/t/acme/chat/{review['conversation_id']}/")
    steps.connected(page)
    examine(page)


def test_queue_and_request(reviewer: Page, stack: Stack, waiting: Waiting, orders: Iterator[int]) -> None:
    review = waiting(f"refund $2 on order {next(orders)}")
    steps.open_queue(reviewer)
    examine(reviewer)
    reviewer.goto(f"/t/acme/queue/{review['id']}/")
    steps.connected(reviewer)
    examine(reviewer)
    steps.button(reviewer, "Edit").click()
    examine(reviewer)
    decide(stack.person("reviewer2@acme.example"), review, "reject", feedback="Because.")
    reviewer.goto(f"/t/acme/queue/{review['id']}/")
    examine(reviewer)
    reviewer.goto("/t/acme/queue/?status=decided")
    assert violations(reviewer) == []


def test_a_question_of_the_graph(reviewer: Page, waiting: Waiting) -> None:
    review = waiting("Write about the reading room", agent="Newsroom")
    reviewer.goto(f"/t/acme/queue/{review['id']}/")
    steps.connected(reviewer)
    examine(reviewer)


def test_the_style_guide(reviewer: Page) -> None:
    reviewer.goto("/styleguide/")
    examine(reviewer)


def test_a_refusal_says_why(people: People) -> None:
    people.forgive("status of 403")
    page = people.sign_in("member@acme.example")
    page.goto("/t/acme/queue/")
    expect(page.get_by_text("Only reviewers, admins and auditors see the review queue.")).to_be_visible()
    examine(page)


@pytest.mark.parametrize("template", ["404.html", "500.html", "403_csrf.html"])
def test_errors(people: People, template: str) -> None:
    """As they are without DEBUG, laid over an address of the running product, whose styles they use."""
    html = render_to_string(template, request=RequestFactory().get("/nowhere/"))
    page = people.stranger()
    page.route("**/nowhere/", lambda route: route.fulfill(body=html, headers={"Content-Type": "text/html", **CSP}))
    page.goto("/nowhere/")
    expect(page.get_by_role("link", name="start page")).to_be_visible()
    examine(page)


def test_every_answer_carries_the_exact_policy(stack: Stack) -> None:
    reviewer, operator = stack.person("reviewer@acme.example"), stack.person("operator@gatehouse.example")
    answers = [
        *map(reviewer.get, ("/", "/accounts/login/", "/t/acme/queue/", "/t/acme/chat/", "/styleguide/")),
        *map(reviewer.get, ("/accounts/password/reset/",)),
        stack.person("member@acme.example").get("/t/acme/queue/"),
        *map(operator.get, ("/admin/", "/admin/tenants/tenant/", "/admin/audit/auditevent/")),
    ]
    for answer in answers:
        found = {part.strip() for part in answer.headers.get("content-security-policy", "").split(";")}
        assert found == set(POLICY.split("; ")), answer.url


FORBIDDEN = {
    "inline script": r"<script(?![^>]*\ssrc=)[^>]*>",
    "inline style": r"<style\b|\sstyle=",
    "event attribute": r"\son[a-z]+\s*=\s*[\"']",
    "hx-on": r"\bhx-on\b",
    "script in a value": r"=\s*[\"']\s*(?:js|javascript):|hx-vals=[\"']js:",
    "trigger filter": r"hx-trigger=(?:\"[^\"]*\[|'[^']*\[)",
    "the browser's own dialog": r"\bhx-confirm\b",
    "boost": r"\bhx-boost\b",
    "history in storage": r"\bhx-history-cache\b",
    "unescaped": r"\|\s*safe\b|autoescape\s+off",
    "another origin": r"(?:src|href|action)=[\"']https?://",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_templates_keep_the_rules(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what], re.IGNORECASE)
    templates = [*(CHECKOUT / "templates").rglob("*.html"), *(CHECKOUT / "approvals").rglob("templates/**/*.html")]
    assert len(templates) > 20
    found = [f"{path}: {match[0]}" for path in templates for match in pattern.finditer(_code(path.read_text()))]
    assert found == []


def _code(template: str) -> str:
    """Without comments, which may speak of what is forbidden."""
    return re.sub(r"\{#.*?#\}|\{% comment %\}.*?\{% endcomment %\}", "", template, flags=re.DOTALL)


@pytest.mark.parametrize("check", ["frontend.py", "icons.py"])
def test_vendored_files_and_icons_are_what_they_say(check: str) -> None:
    done = subprocess.run(
        [sys.executable, f"requirements/{check}", "--check"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_hostile_text_is_shown_and_does_nothing(people: People, reviewer: Page, stack: Stack, waiting: Waiting) -> None:
    review = waiting(HOSTILE)
    reviewer.goto(f"/t/acme/queue/{review['id']}/")
    steps.connected(reviewer)
    body = reviewer.get_by_role("table", name="Arguments of send_email").get_by_role("row", name="body")
    expect(body).to_contain_text("<script>window.ran = 1</script>")
    expect(body).to_contain_text("{{ 7|add:7 }}")
    for badge in ("U+202E", "U+200B"):
        expect(body.locator(".hid").filter(has_text=badge).first).to_be_visible()
    expect(reviewer.get_by_text("flagged value").first).to_be_visible()

    member = people.sign_in("member@acme.example")
    member.goto(f"/t/acme/chat/{review['conversation_id']}/")
    steps.connected(member)
    expect(member.locator(".said-by-user")).to_contain_text("<script>window.ran = 1</script>")
    for page in (reviewer, member):
        for width in (1400, 390, 320):
            page.set_viewport_size({"width": width, "height": 844})
            assert overflow(page) == 0, f"{page.url} {width}"
        assert page.evaluate("[window.ran, document.querySelectorAll('main :is(img, script, iframe)').length]") == [
            None,
            0,
        ]
        assert violations(page) == []
    steps.button(reviewer, "Reject").click()
    reviewer.get_by_role("textbox", name="Reason").fill(HOSTILE)
    reviewer.get_by_role("button", name="Reject and tell the agent").click()
    steps.decided(reviewer, "Rejected")
    stack.until(str(review["conversation_id"]), "succeeded")
    expect(member.locator(".prose").last).to_contain_text("not done")
    for page in (reviewer, member):
        assert overflow(page) == 0
        assert page.evaluate("[window.ran, document.querySelectorAll('main :is(img, script, iframe)').length]") == [
            None,
            0,
        ]
