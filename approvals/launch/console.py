"""What the person at the terminal sees; elsewhere plain lines, and no more than are worth keeping."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

CLEAR_LINE = "\r\033[K"


class Console:
    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._shown = False
        self._shown_since = time.monotonic()
        self._text = ""

    def say(self, text: str) -> None:
        self._write(f"{text}\n")

    def show(self, text: str) -> None:
        """A passing line with its seconds; only a terminal gets it, and the next line replaces it."""
        if text != self._text:
            self._text, self._shown_since = text, time.monotonic()
        if self._live:
            self._write(f"{text} ... {time.monotonic() - self._shown_since:.0f} s")
            self._shown = True

    def complain(self, text: str) -> None:
        self._write("")
        with suppress(OSError):
            os.write(sys.stderr.fileno(), f"{text}\n".encode())

    def _write(self, text: str) -> None:
        # The terminal may be closed, or the reader of a pipe gone: that must not keep us from stopping what we started.
        with suppress(OSError):
            os.write(sys.stdout.fileno(), ((CLEAR_LINE if self._shown else "") + text).encode(errors="replace"))
        self._shown = False
