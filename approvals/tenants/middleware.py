"""What every request and response passes besides Django's own middleware."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

NO_FEATURES = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer",
        "camera",
        "display-capture",
        "geolocation",
        "gyroscope",
        "microphone",
        "payment",
        "usb",
    )
)


def browser_policies(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Switch off browser features that no page of ours uses."""

    def mark(response: HttpResponseBase) -> HttpResponseBase:
        response.headers["Permissions-Policy"] = NO_FEATURES
        return response

    if not iscoroutinefunction(get_response):
        return lambda request: mark(get_response(request))

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        return mark(await get_response(request))

    markcoroutinefunction(middleware)
    return middleware


def in_one_thread(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Does nothing, synchronously. Last in the list, it keeps Django's synchronous middleware before it in one thread.

    Otherwise each of the eight changes threads twice for every request: a third of the web process's CPU.
    """
    return get_response


browser_policies.sync_capable = True  # type: ignore[attr-defined]
browser_policies.async_capable = True  # type: ignore[attr-defined]


def only_utf8(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Read every form as UTF-8, whatever it says of itself: other encodings decode to lone surrogates, which no page and
    no row can hold."""

    def read_as_utf8(request: HttpRequest) -> HttpRequest:
        request.encoding = "utf-8"
        return request

    if not iscoroutinefunction(get_response):
        return lambda request: get_response(read_as_utf8(request))

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await get_response(read_as_utf8(request))
        return response

    markcoroutinefunction(middleware)
    return middleware


only_utf8.sync_capable = True  # type: ignore[attr-defined]
only_utf8.async_capable = True  # type: ignore[attr-defined]
