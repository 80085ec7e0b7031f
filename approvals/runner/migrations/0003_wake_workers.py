"""A job that is retried, or whose lock comes free, wakes the workers at once.

procrastinate 3.10 notifies on INSERT only, so such a job is found by polling, every 5 s by default (21 s instead of 15 s
until a killed worker's job runs again). The channel names and the payload are procrastinate 3.10's; a test holds them.
"""

from django.db import migrations

WAKE = """
CREATE FUNCTION wake_workers() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    payload text := json_build_object('type', 'job_inserted', 'job_id', NEW.id)::text;
BEGIN
    PERFORM pg_notify('procrastinate_queue_v1#' || NEW.queue_name, payload);
    PERFORM pg_notify('procrastinate_any_queue_v1', payload);
    RETURN NEW;
END $$;
CREATE TRIGGER wake_workers AFTER UPDATE OF status ON procrastinate_jobs FOR EACH ROW
    WHEN (OLD.status = 'doing' AND NEW.status <> 'doing' AND (NEW.lock IS NOT NULL OR NEW.status = 'todo'))
    EXECUTE FUNCTION wake_workers();
"""


class Migration(migrations.Migration):
    dependencies = [("runner", "0002_sweeps"), ("procrastinate", "0041_post_retry_failed_job")]

    operations = [
        migrations.RunSQL(WAKE, "DROP TRIGGER wake_workers ON procrastinate_jobs; DROP FUNCTION wake_workers()"),
    ]
