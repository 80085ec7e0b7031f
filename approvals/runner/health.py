"""Is this process alive, and is the installation ready: database, migrations, a worker heard from lately."""

from __future__ import annotations

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

WORKER_SILENT_AFTER = 30  # seconds; it beats every 10


@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok", content_type="text/plain")


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """200 when work can be done; else 503, with what is wrong."""
    problems = _problems()
    answer = JsonResponse({"ready": not problems, "problems": problems}, status=503 if problems else 200)
    answer._has_been_logged = True  # type: ignore[attr-defined]  # not an error of ours: who asks reads the answer
    return answer


def _problems() -> list[str]:
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - %s * interval '1 second'",
                [WORKER_SILENT_AFTER],
            )
            (workers,) = cursor.fetchone()
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return ["the database does not answer, or has no tables yet"]
    problems = [f"{len(missing)} migrations are missing"] if missing else []
    return problems if workers else [*problems, "no worker was heard from lately"]
