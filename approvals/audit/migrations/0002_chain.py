"""The chain: one function appends, a trigger links at the commit, another refuses every change of what is written."""

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
RETURNS void LANGUAGE sql AS $$
    INSERT INTO audit_auditevent (tenant_id, at, actor, actor_id, action, subject_id, facts, hash)
    VALUES (tenant, clock_timestamp(), actor, actor_id, action, subject_id, facts::jsonb, '')
$$
"""
# Writers of one tenant queue for its head's row. Linked by a deferred trigger, an entry takes that lock inside COMMIT,
# behind every foreign key's check: no client is waited for while it is held. Taken by the statement instead, 16 clients
# at once spent most of their time in the queue.
LINK = """
CREATE FUNCTION audit_link() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    head audit_audithead;
    entry audit_auditevent := NEW;
BEGIN
    LOOP
        SELECT * INTO head FROM audit_audithead WHERE tenant_id = entry.tenant_id FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO audit_audithead (tenant_id, sequence, hash) VALUES (entry.tenant_id, 0, '') ON CONFLICT DO NOTHING;
    END LOOP;
    entry.sequence := head.sequence + 1;
    entry.hash := audit_mark(head.hash, entry);
    UPDATE audit_auditevent SET sequence = entry.sequence, hash = entry.hash WHERE id = entry.id;
    UPDATE audit_audithead SET sequence = entry.sequence, hash = entry.hash WHERE tenant_id = entry.tenant_id;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER linked_at_commit AFTER INSERT ON audit_auditevent
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_link();
"""
REFUSE = """
CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.sequence IS NULL AND pg_trigger_depth() > 1 THEN
        RETURN NEW;  -- audit_link, once for each entry
    END IF;
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
        migrations.RunSQL(LINK, "DROP TRIGGER linked_at_commit ON audit_auditevent; DROP FUNCTION audit_link()"),
        migrations.RunSQL(REFUSE, "DROP FUNCTION audit_refuse_change()"),
        migrations.RunSQL(TRIGGER, "DROP TRIGGER append_only ON audit_auditevent"),
        *(
            migrations.RunSQL(POLICY.format(table=table), OPEN.format(table=table))
            for table in ("audit_auditevent", "audit_audithead")
        ),
    ]
