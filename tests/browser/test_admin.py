"""Django admin in a browser, under the same Content Security Policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import People


@pytest.fixture
def operator(people: People) -> Page:
    return people.sign_in("operator@gatehouse.example")


def test_an_operator_arrives_in_the_admin(operator: Page) -> None:
    operator.goto("/")
    expect(operator.get_by_role("heading", name="Operate")).to_be_visible()


@pytest.mark.parametrize(
    ("path", "shows"),
    [
        ("tenants/tenant/", ("Acme Outfitters", "Globex Supplies")),
        ("conversations/agent/", ("Support desk", "Newsroom")),
        ("tenants/membership/", ("Rosa Reviewer", "Renata Reviewer")),
        ("tenants/user/", ("operator@gatehouse.example",)),
        ("calls/cataloguetool/", ("issue_refund",)),
        ("audit/auditevent/", ()),
        ("conversations/run/", ()),
    ],
)
def test_lists_open(operator: Page, path: str, shows: tuple[str, ...]) -> None:
    operator.goto(f"/admin/{path}")
    for text in shows:
        expect(operator.locator("#result_list").get_by_text(text).first).to_be_visible()


def test_a_tenant_can_be_changed(operator: Page) -> None:
    operator.goto("/admin/tenants/tenant/")
    operator.get_by_role("link", name="Globex Supplies").click()
    expect(operator.get_by_role("textbox", name="Name")).to_have_value("Globex Supplies")
    operator.get_by_role("button", name="Save and continue editing").click()
    expect(operator.locator(".messagelist .success")).to_be_visible()


def test_requests_are_read_and_never_changed(
    operator: Page, waiting: Callable[..., dict[str, Any]], orders: Iterator[int], people: People
) -> None:
    review = waiting(f"refund $2 on order {next(orders)}")
    operator.goto("/admin/reviews/reviewrequest/?q=" + review["title"].replace("$", "%24"))
    expect(operator.get_by_text(review["title"]).first).to_be_visible()
    operator.goto(f"/admin/reviews/reviewrequest/{review['id']}/change/")
    expect(operator.get_by_text(review["title"]).first).to_be_visible()
    expect(operator.get_by_role("button", name="Save")).to_have_count(0)
    expect(operator.get_by_role("link", name="Delete")).to_have_count(0)
    expect(operator.locator("#content input:not([type=hidden])")).to_have_count(0)
    people.forgive("status of 403")
    refused = operator.goto(f"/admin/reviews/reviewrequest/{review['id']}/delete/")
    assert refused
    assert refused.status == 403


def test_members_do_not_get_in(people: People) -> None:
    page = people.sign_in("admin@acme.example")
    page.goto("/admin/")
    expect(page.get_by_role("heading", name="Operate")).to_have_count(0)
