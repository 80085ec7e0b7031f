"""Template tags of the interface: icons, avatars, times. `{% load interface %}`"""

from __future__ import annotations

import unicodedata
import zlib
from datetime import datetime

from django import template
from django.template.defaultfilters import date as date_format
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime, now

register = template.Library()

# Shape and word carry the risk, colour only supports them: (icon, class of the chip, word).
RISKS = {
    "critical": ("octagon-alert", "hi", "Critical"),
    "high": ("octagon-alert", "hi", "High"),
    "medium": ("triangle-alert", "md", "Medium"),
    "low": ("circle-dot", "", "Low"),
}
# State of a call or a conversation: (icon, class of the card, class of the word).
STATES = {
    "preparing": ("circle-dashed", "", ""),
    "queued": ("clock", "", ""),
    "running": ("circle-dashed", "", ""),
    "waiting": ("circle-pause", "wn", "wn"),
    "approved": ("circle-check", "ok", ""),
    "edited": ("circle-check", "ok", ""),
    "done": ("circle-check", "ok", ""),
    "rejected": ("circle-x", "bd", "bd"),
    "answered": ("reply", "", "ac"),
    "denied": ("lock", "bd", "bd"),
    "expired": ("clock", "bd", "bd"),
    "withdrawn": ("undo-2", "", ""),
    "failed": ("circle-x", "bd", "bd"),
    "unknown": ("circle-help", "wn", "wn"),
    "stuck": ("triangle-alert", "bd", "bd"),
    "asks": ("message-square", "ac", "ac"),
}
VERDICTS = {"approve": "check", "edit": "check", "reject": "x", "respond": "reply"}
HUES = ("a", "b", "c", "d", "e")
SOON = 15 * 60  # seconds: what is due within this is red


@register.simple_tag
def icon(name: str, size: str = "") -> SafeString:
    """Draw one icon of the sprite, for eyes only. Size "s" is the small one."""
    classes = f"i {size}".strip()
    return format_html(
        '<svg class="{}" aria-hidden="true"><use href="{}#{}"/></svg>', classes, static("icons.svg"), name
    )


@register.filter
def risk_icon(risk: str) -> str:
    return RISKS.get(risk, ("circle-help", "", ""))[0]


@register.filter
def risk_class(risk: str) -> str:
    return RISKS.get(risk, ("", "md", ""))[1]


@register.filter
def risk_word(risk: str) -> str:
    return RISKS.get(risk, ("", "", "Risk unknown"))[2]


@register.filter
def state_icon(state: str) -> str:
    return STATES.get(state, ("circle-dashed", "", ""))[0]


@register.filter
def state_card(state: str) -> str:
    return STATES.get(state, ("", "", ""))[1]


@register.filter
def state_tone(state: str) -> str:
    return STATES.get(state, ("", "", ""))[2]


@register.filter
def verdict_icon(verdict: str) -> str:
    return VERDICTS.get(verdict, "circle-check")


UNSEEN = {"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"}  # categories a reader cannot see, or that reorder what he sees


@register.filter
def visible(text: object) -> str:
    """Write invisible and direction-changing characters as [U+202E]: the last fence for text without segments."""
    return "".join(
        f"[U+{ord(each):04X}]" if unicodedata.category(each) in UNSEEN and each not in "\n\t" else each
        for each in str(text)
    )


@register.filter
def initials(name: object) -> str:
    """Return up to two capitals for a person's name, or for an address without one."""
    words = str(name).split("@")[0].replace(".", " ").split()
    return "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words))[:2].upper() or "?"


@register.filter
def avatar_hue(name: object) -> str:
    """Give the same person the same colour everywhere; only five exist, so it identifies nobody."""
    return HUES[zlib.crc32(str(name).encode()) % len(HUES)]


def in_words(seconds: float) -> str:
    """Round a span as a person would say it. Keep in step with words() in static/js/times.js."""
    minutes = max(0, int(seconds // 60))
    if minutes < 1:
        return "under 1 min"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h"
    return f"{minutes // (24 * 60)} days"


def _time(when: datetime, kind: str, text: str) -> SafeString:
    title = f"{date_format(localtime(when), 'j M Y, H:i')} ({when:%H:%M} UTC)"
    return format_html(
        '<time datetime="{}" title="{}"{}>{}</time>',
        when.isoformat(),
        title,
        format_html(' data-time="{}"', kind) if kind else "",
        text,
    )


@register.filter
def since(when: datetime) -> SafeString:
    """Say how long ago that was; times.js keeps it true."""
    return _time(when, "since", in_words((now() - when).total_seconds()))


@register.filter
def until(when: datetime) -> SafeString:
    """Say how much time is left; times.js keeps it true."""
    return _time(when, "until", in_words((when - now()).total_seconds()))


@register.filter
def clock(when: datetime) -> SafeString:
    """Print the time, with the day before it if that was another day."""
    local = localtime(when)
    today = local.date() == localtime().date()
    return _time(when, "", date_format(local, "H:i" if today else "j M, H:i"))


@register.filter
def day(when: datetime) -> SafeString:
    """Print the time of today, else the day: for lists, where the rest is in the title."""
    local = localtime(when)
    return _time(when, "", date_format(local, "H:i" if local.date() == localtime().date() else "j M"))


@register.filter
def is_soon(when: datetime | None) -> bool:
    return when is not None and (when - now()).total_seconds() < SOON
