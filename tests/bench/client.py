"""A client that costs next to nothing, so that the figures are the product's: raw HTTP, and one poll for all waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import psycopg
from psycopg.rows import dict_row

from tests.stack import Person

Row = Mapping[str, Any]
LONGEST_WAIT = 60.0  # seconds for one state

LOOK = """
SELECT r.conversation_id::text AS conversation, r.status, r.error, q.id AS request, q.digest
  FROM conversations_run r LEFT JOIN reviews_reviewrequest q ON q.run_id = r.id AND q.status = 'pending'
 WHERE r.conversation_id = ANY(%s::uuid[]) AND r.status IN ('waiting', 'succeeded', 'failed', 'stuck', 'cancelled')
"""


class Line:
    """One kept-alive connection. Cookies come from a person who signed in before."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)

    async def __aenter__(self) -> Line:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def _open(self) -> None:
        host, port = self._address.hostname, self._address.port
        self._reader, self._writer = await asyncio.open_connection(host, port)

    async def post(self, person: Person, path: str, **fields: str) -> str:
        """Send a form that must be answered with a redirect; where to."""
        body = urlencode({**fields, "csrfmiddlewaretoken": person.cookies["csrftoken"]}).encode()
        cookies = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._address.netloc}\r\nOrigin: {self._address.geturl()}\r\n"
            f"Cookie: {cookies}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        if self._reader.at_eof():  # the server closes a connection that was silent for five seconds
            await self._open()
        self._writer.write(head.encode() + body)
        status, *headers = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        found = dict(line.lower().split(": ", 1) for line in headers if line)
        text = await self._reader.readexactly(int(found.get("content-length", 0)))
        if " 302 " not in f"{status} ":
            raise AssertionError(f"{path}: {status} {text[:400]!r}")
        return found["location"]


@dataclass
class Watch:
    """Tells when runs wait or end. One query for all of them, every `interval` seconds."""

    url: str
    interval: float = 0.01
    _wanted: dict[str, tuple[bool, asyncio.Future[Row]]] = field(default_factory=dict)

    async def __aenter__(self) -> Watch:
        self._connection = await psycopg.AsyncConnection.connect(self.url, autocommit=True, row_factory=dict_row)
        self._polling = asyncio.create_task(self._poll())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._polling.cancel()
        await self._connection.close()

    async def paused(self, conversation: str) -> Row:
        return await self._until(conversation, paused=True)

    async def ended(self, conversation: str) -> Row:
        return await self._until(conversation, paused=False)

    async def _until(self, conversation: str, *, paused: bool) -> Row:
        future: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._wanted[conversation] = (paused, future)
        return await asyncio.wait_for(future, LONGEST_WAIT)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self.interval)
            if not self._wanted:
                continue
            rows = await self._connection.execute(LOOK, (list(self._wanted),))
            for row in await rows.fetchall():
                self._compare(row)

    def _compare(self, row: Row) -> None:
        paused, future = self._wanted[row["conversation"]]
        if row["status"] == "waiting" and not paused:
            return  # it was decided, and the worker has not taken it yet
        del self._wanted[row["conversation"]]
        if row["status"] == ("waiting" if paused else "succeeded"):
            future.set_result(row)
        else:
            future.set_exception(AssertionError(f"the run {row['status']}: {row['error']}"))
