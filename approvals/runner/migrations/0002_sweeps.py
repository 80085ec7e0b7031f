"""What a sweep must find before it knows a tenant: ids only, through functions owned by a role nobody can log in as."""

from django.db import migrations

SWEEPER = "gatehouse_sweeper"

# Threads that some worker should be driving and none is: a run queued and due, or running under a lease that ran out.
FUNCTIONS = """
CREATE FUNCTION abandoned_threads(at_most integer) RETURNS TABLE (tenant_id uuid, thread_id uuid)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT DISTINCT r.tenant_id, r.thread_id
      FROM public.conversations_run r
      JOIN public.conversations_lease l ON l.thread_id = r.thread_id
     WHERE r.status IN ('queued', 'running') AND r.wake_at < now() - interval '2 seconds'
       AND (l.expires_at IS NULL OR l.expires_at < now())
       AND NOT EXISTS (SELECT 1 FROM public.conversations_run w WHERE w.thread_id = r.thread_id AND w.status = 'waiting')
     LIMIT at_most
$$;
CREATE FUNCTION overdue_requests(at_most integer) RETURNS TABLE (tenant_id uuid, request_id uuid)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT r.tenant_id, r.id FROM public.reviews_reviewrequest r
     WHERE r.status = 'pending' AND r.kind <> 'outcome' AND r.decide_by < now() LIMIT at_most
$$;
"""
# A new owner must be allowed to create in the schema; the right is taken back at once.
HAND_OVER = f"""
GRANT CREATE ON SCHEMA public TO {SWEEPER};
ALTER FUNCTION abandoned_threads(integer) OWNER TO {SWEEPER};
ALTER FUNCTION overdue_requests(integer) OWNER TO {SWEEPER};
REVOKE CREATE ON SCHEMA public FROM {SWEEPER};
GRANT USAGE ON SCHEMA public TO {SWEEPER};
GRANT SELECT ON conversations_run, conversations_lease, reviews_reviewrequest TO {SWEEPER};
"""


class Migration(migrations.Migration):
    dependencies = [("runner", "0001_checkpoints"), ("reviews", "0002_isolation")]

    operations = [
        migrations.RunSQL(
            FUNCTIONS, "DROP FUNCTION abandoned_threads(integer); DROP FUNCTION overdue_requests(integer)"
        ),
        migrations.RunSQL(HAND_OVER, migrations.RunSQL.noop),
    ]
