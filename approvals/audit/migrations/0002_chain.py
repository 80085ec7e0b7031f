"""The chain: one function appends, one says an entry's mark, a trigger refuses every change of what is written."""

from django.db import migrations

MARK = """
CREATE FUNCTION audit_mark(previous text, e audit_auditevent) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT encode(sha256(convert_to(jsonb_build_array(
        previous, e.tenant_id, e.sequence, extract(epoch from e.at)::text, e.actor, e.actor_id, e.action,
        e.subject_id, e.facts)::text, 'UTF8')), 'hex')
$$
"""
APPEND = """
CREATE FUNCTION audit_append(tenant uuid, actor text, actor_id uuid, action text, subject_id uuid, facts text)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    head audit_audithead;
    entry audit_auditevent;
BEGIN
    LOOP  -- the row lock that puts a tenant's writers in order
        SELECT * INTO head FROM audit_audithead WHERE tenant_id = tenant FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO audit_audithead (tenant_id, sequence, hash) VALUES (tenant, 0, '') ON CONFLICT DO NOTHING;
    END LOOP;
    entry.id := nextval(pg_get_serial_sequence('audit_auditevent', 'id'));
    entry.tenant_id := tenant;
    entry.sequence := head.sequence + 1;
    entry.at := clock_timestamp();
    entry.actor := actor;
    entry.actor_id := actor_id;
    entry.action := action;
    entry.subject_id := subject_id;
    entry.facts := facts::jsonb;
    entry.hash := audit_mark(head.hash, entry);
    INSERT INTO audit_auditevent SELECT entry.*;
    UPDATE audit_audithead SET sequence = entry.sequence, hash = entry.hash WHERE tenant_id = tenant;
    RETURN entry.sequence;
END $$
"""
REFUSE = """
CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit entries are never changed or removed' USING errcode = 'GH002';
END $$
"""
TRIGGER = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_auditevent
FOR EACH ROW EXECUTE FUNCTION audit_refuse_change()
"""
# Not isolate(): the tenant is only an id here, so that an erased tenant's record can outlive it.
POLICY = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON {table}
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
"""
OPEN = """
DROP POLICY tenant_isolation ON {table};
ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;
ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_tables")]

    operations = [
        migrations.RunSQL(MARK, "DROP FUNCTION audit_mark(text, audit_auditevent)"),
        migrations.RunSQL(APPEND, "DROP FUNCTION audit_append(uuid, text, uuid, text, uuid, text)"),
        migrations.RunSQL(REFUSE, "DROP FUNCTION audit_refuse_change()"),
        migrations.RunSQL(TRIGGER, "DROP TRIGGER append_only ON audit_auditevent"),
        *(
            migrations.RunSQL(POLICY.format(table=table), OPEN.format(table=table))
            for table in ("audit_auditevent", "audit_audithead")
        ),
    ]
