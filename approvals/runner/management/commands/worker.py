from __future__ import annotations

import asyncio
import logging
from typing import Any

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from approvals.db.checks import UnsafeRole, refuse_unsafe_role


class Command(BaseCommand):
    help = "Drive runs: wake up, acquire a thread's lease, run its graph, hand on the outcome."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            refuse_unsafe_role()
        except UnsafeRole as unsafe:
            raise CommandError(str(unsafe)) from None
        from approvals.runner.worker import run_worker  # langgraph takes a second to import

        logging.getLogger("approvals.runner").info("worker starts")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as uvicorn's
            runner.run(run_worker(settings.GRAPHS))
        connections.close_all()
