"""Requests are numbered in each tenant without a gap, by the commit: the counter's lock is held for no client's sake."""

from django.db import migrations

NUMBER = """
CREATE FUNCTION review_request_number() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    given integer;
BEGIN
    INSERT INTO reviews_requestcounter (tenant_id, last) VALUES (NEW.tenant_id, 1)
        ON CONFLICT (tenant_id) DO UPDATE SET last = reviews_requestcounter.last + 1
        RETURNING last INTO given;
    UPDATE reviews_reviewrequest SET number = given WHERE id = NEW.id;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER numbered_at_commit AFTER INSERT ON reviews_reviewrequest
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.number IS NULL) EXECUTE FUNCTION review_request_number();
"""


class Migration(migrations.Migration):
    dependencies = [("reviews", "0002_isolation")]

    operations = [
        migrations.RunSQL(
            NUMBER,
            "DROP TRIGGER numbered_at_commit ON reviews_reviewrequest; DROP FUNCTION review_request_number()",
        ),
    ]
