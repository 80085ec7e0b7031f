"""A worker process: its graphs, its pool, its heart, and procrastinate around them."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from langgraph.checkpoint.serde._msgpack import STRICT_MSGPACK_ENABLED
from procrastinate.contrib.django import app
from procrastinate.contrib.django.utils import connector_params
from procrastinate.psycopg_connector import PsycopgConnector
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from agents.checkpointing import open_pool
from agents.registry import load
from approvals.db.job_scope import job_scope
from approvals.runner import catalogue
from approvals.runner.driving import Driver
from approvals.runner.leases import Heart

log = logging.getLogger(__name__)

GRACE_SECONDS = 10  # for runs under way at SIGTERM; after it their leases run out and others take over
# The loop and the threads of Django's ORM take turns: with Python's 5 ms the loop waits too long for each of its turns.
SWITCH_SECONDS = 0.002
POLL_SECONDS = 1.0  # for jobs of a later time, which procrastinate finds by polling only


async def run_worker(config: Path) -> None:
    if not STRICT_MSGPACK_ENABLED:
        raise RuntimeError("LANGGRAPH_STRICT_MSGPACK is off: a crafted checkpoint row would run code in this worker")
    sys.setswitchinterval(SWITCH_SECONDS)
    graphs = load(config)
    for found in graphs.values():
        if found.problem:
            log.error("graph %s does not load: %s", found.id, found.problem)
    await sync_to_async(catalogue.publish)(graphs.values())
    conninfo = database_conninfo()
    heart = Heart(conninfo, lease_seconds=settings.LEASE_SECONDS)
    heart.start()
    async with open_pool(conninfo, max_size=settings.WORKER_CONCURRENCY + 4) as pool:
        driver = Driver(pool=pool, heart=heart, graphs=graphs, lease_seconds=settings.LEASE_SECONDS)
        try:
            await _run_jobs(driver)
        finally:
            heart.stop()


async def _run_jobs(driver: Driver) -> None:
    # As get_worker_connector() makes it, but each of its statements is a transaction: two round trips less for each.
    connector = PsycopgConnector(kwargs=connector_params(), configure=_commit_each_statement)
    with app.replace_connector(connector) as worker_app:
        async with worker_app.open_async():
            await worker_app.run_worker_async(
                queues=["drive", "upkeep"],
                concurrency=settings.WORKER_CONCURRENCY,
                fetch_job_polling_interval=POLL_SECONDS,
                shutdown_graceful_timeout=GRACE_SECONDS,
                delete_jobs="successful",
                worker_middleware=[job_scope],
                additional_context={"driver": driver},
            )


async def _commit_each_statement(connection: AsyncConnection[Any]) -> None:
    await connection.set_autocommit(True)


def database_conninfo() -> str:
    """The worker's own address, for connections outside Django: the saver's pool and the heart."""
    parameters = connections["default"].get_connection_params()
    known = ("dbname", "user", "password", "host", "port", "sslmode", "sslrootcert")
    return make_conninfo(**{name: parameters[name] for name in known if parameters.get(name)})
