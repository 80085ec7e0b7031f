"""LangGraph's checkpoint tables, in a schema of their own: isolated by tenant and fenced by the lease's epoch.

The SQL is that of langgraph-checkpoint-postgres 3.2.0 (versions 0 to 9), frozen here because its `setup()` needs
CREATE INDEX CONCURRENTLY outside a transaction and dies when two processes call it at once (3 of 4 did). A test holds
that the library still has these ten versions; `setup()` never runs in a process.
"""

from django.db import migrations

SCHEMA = "langgraph"
TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
VERSIONS = 10

CREATE = f"""
CREATE SCHEMA {SCHEMA};
CREATE TABLE {SCHEMA}.checkpoint_migrations (v integer PRIMARY KEY);
CREATE TABLE {SCHEMA}.checkpoints (
    thread_id text NOT NULL,
    checkpoint_ns text NOT NULL DEFAULT '',
    checkpoint_id text NOT NULL,
    parent_checkpoint_id text,
    type text,
    checkpoint jsonb NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{{}}',
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
);
CREATE TABLE {SCHEMA}.checkpoint_blobs (
    thread_id text NOT NULL,
    checkpoint_ns text NOT NULL DEFAULT '',
    channel text NOT NULL,
    version text NOT NULL,
    type text NOT NULL,
    blob bytea,
    PRIMARY KEY (thread_id, checkpoint_ns, channel, version)
);
CREATE TABLE {SCHEMA}.checkpoint_writes (
    thread_id text NOT NULL,
    checkpoint_ns text NOT NULL DEFAULT '',
    checkpoint_id text NOT NULL,
    task_id text NOT NULL,
    idx integer NOT NULL,
    channel text NOT NULL,
    type text,
    blob bytea NOT NULL,
    task_path text NOT NULL DEFAULT '',
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
);
CREATE INDEX checkpoints_thread_id_idx ON {SCHEMA}.checkpoints (thread_id);
CREATE INDEX checkpoint_blobs_thread_id_idx ON {SCHEMA}.checkpoint_blobs (thread_id);
CREATE INDEX checkpoint_writes_thread_id_idx ON {SCHEMA}.checkpoint_writes (thread_id);
INSERT INTO {SCHEMA}.checkpoint_migrations SELECT generate_series(0, {VERSIONS - 1});
"""

# The join, cast on LangGraph's text and never on our key: an index scan. The other way round it was 500 times slower.
ISOLATE = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON {table}
    USING (EXISTS (SELECT 1 FROM conversations_thread t WHERE t.id = thread_id::uuid
           AND t.tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
    WITH CHECK (EXISTS (SELECT 1 FROM conversations_thread t WHERE t.id = thread_id::uuid
           AND t.tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)));
"""

# A worker whose lease was taken over cannot write a checkpoint any more: refused 100 times of 100, within the noise of
# the cost. DELETE is not fenced: retention holds the lease itself. FOR KEY SHARE works because the epoch is part of a
# unique key: raising it needs the strong row lock.
FENCE = f"""
CREATE FUNCTION {SCHEMA}.fence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM conversations_lease
      WHERE thread_id = NEW.thread_id::uuid
        AND epoch = NULLIF(current_setting('app.lease_epoch', true), '')::bigint
        FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'stale lease epoch' USING errcode = 'GH001';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fence BEFORE INSERT OR UPDATE ON {SCHEMA}.checkpoints
    FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.fence();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE ON {SCHEMA}.checkpoint_writes
    FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.fence();
"""


class Migration(migrations.Migration):
    dependencies = [("conversations", "0002_isolation")]

    operations = [
        migrations.RunSQL(CREATE, f"DROP SCHEMA {SCHEMA} CASCADE"),
        *(migrations.RunSQL(ISOLATE.format(table=f"{SCHEMA}.{table}"), migrations.RunSQL.noop) for table in TABLES),
        migrations.RunSQL(FENCE, migrations.RunSQL.noop),
    ]
