"""The table of the shared cache (rate limits of sign-in), as Django's `createcachetable` would make it."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_tables")]

    operations = [
        migrations.RunSQL(
            """
            CREATE TABLE gatehouse_cache (
                cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamptz NOT NULL
            );
            CREATE INDEX gatehouse_cache_expires ON gatehouse_cache (expires);
            """,
            "DROP TABLE gatehouse_cache",
        ),
    ]
