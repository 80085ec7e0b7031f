"""Jobs are wake-ups, never the truth: they carry ids, and may be lost or doubled without changing anything."""

from __future__ import annotations

from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from procrastinate import JobContext
from procrastinate.contrib.django import app
from procrastinate.exceptions import UniqueViolation
from procrastinate.jobs import Status

from approvals.db.tenant_scope import acting_for

STALLED_AFTER = 15  # seconds without a worker's heartbeat; it beats every 10
AT_MOST = 500  # threads or requests in one sweep


@app.task(queue="drive", pass_context=True)
async def drive(context: JobContext, *, thread_id: str, tenant_id: str) -> None:
    driver = context.additional_context["driver"]
    await driver.drive(thread_id=UUID(thread_id), tenant_id=UUID(tenant_id))


@app.periodic(cron=f"* * * * * */{settings.SWEEP_SECONDS}")  # the sixth field counts seconds
@app.task(queue="upkeep", queueing_lock="sweep")
async def sweep(timestamp: int) -> None:
    """What a dead worker or a lost wake-up left behind, found again; repeating it is harmless.

    `queueing_lock` but no `lock`: a sweep that died holding a lock would block its successors (procrastinate#1408).
    """
    await _retry_stalled_jobs()
    await sync_to_async(_wake_abandoned_threads)()
    await sync_to_async(_expire_overdue_requests)()


async def _retry_stalled_jobs() -> None:
    for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER):
        try:
            await app.job_manager.retry_job(job)
        except UniqueViolation:
            # A job with the same queueing_lock waits and will do the work (procrastinate#1446).
            await app.job_manager.finish_job(job, status=Status.FAILED, delete_job=False)


def _wake_abandoned_threads() -> None:
    from approvals.runner.sweeping import abandoned_threads

    for tenant_id, thread_id in abandoned_threads(AT_MOST):
        drive.defer(thread_id=str(thread_id), tenant_id=str(tenant_id))


def _expire_overdue_requests() -> None:
    from approvals.reviews.actions import expire
    from approvals.reviews.models import ReviewRequest
    from approvals.runner.sweeping import overdue_requests

    for tenant_id, request_id in overdue_requests(AT_MOST):
        with acting_for(tenant_id):
            expire(review=ReviewRequest.objects.get(pk=request_id))
