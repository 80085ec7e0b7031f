"""What other people's text looks like to a reviewer and a reader: nothing hides in it, and nothing of it does anything."""

from __future__ import annotations

import pytest

from approvals.chat.markdown import to_html
from approvals.reviews.segments import flags_in, notes, segments


@pytest.mark.parametrize("hidden", ["\u202e", "\u2066", "\u200b", "\U000e0041", "\x07", "\ufeff"], ids=ascii)
def test_what_a_reader_could_not_see_is_shown(hidden: str) -> None:
    pieces = segments(f"pay{hidden}pal")
    assert [(text, mark) for text, mark, _ in pieces] == [
        ("pay", ""),
        (f"U+{ord(hidden):04X}", "hidden"),
        ("pal", ""),
    ]
    assert notes(f"pay{hidden}pal") == ["1 hidden character"]
    assert flags_in({"to": f"pay{hidden}pal", "amount": 5}) == 1


def test_a_letter_of_another_script_in_an_address_is_shown() -> None:
    address = "billing@p\u0430ypal.com"  # Cyrillic
    assert [text for text, mark, _ in segments(address) if mark == "mixed"] == ["\u0430"]
    assert flags_in({"to": address}) == 1
    assert flags_in({"to": "billing@paypal.com", "note": "Привет, Zoë 👩‍👩‍👧"}) == 0


@pytest.mark.parametrize("text", ["a\u202eb", "plain", "<b>x</b> [a](https://b.example)", " " * 40 + "end"])
def test_nothing_of_a_text_is_left_out(text: str) -> None:
    kept = "".join(piece for piece, mark, _ in segments(text) if mark in ("", "tag", "mixed"))
    marked = [mark for _, mark, _ in segments(text) if mark in ("hidden", "space")]
    assert len(kept) + (1 if "\u202e" in text else 40 if marked else 0) == len(text)


@pytest.mark.parametrize("html", ["<h1>Approved</h1>", "<script>alert(1)</script>", "<a href=/t/acme/>queue</a>"])
def test_html_of_a_model_is_text(html: str) -> None:
    shown = to_html(f"Look: {html}\n\n{html}")
    assert html not in shown
    assert shown.count(html.replace("<", "&lt;").replace(">", "&gt;")) == 2


@pytest.mark.parametrize("text", ["![x](https://evil.example/a.png)", "[x](javascript:alert)", "[x](data:text/html,x)"])
def test_a_model_loads_and_runs_nothing(text: str) -> None:
    shown = to_html(text)
    assert "<img" not in shown
    assert 'href="javascript' not in shown
    assert 'href="data' not in shown
