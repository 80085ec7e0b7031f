from django.db import migrations

from approvals.db.tenant_tables import isolate


class Migration(migrations.Migration):
    dependencies = [("calls", "0001_tables")]

    operations = [
        isolate(
            "calls_toolcall",
            conversation_id="conversations_conversation",
            thread_id="conversations_thread",
            run_id="conversations_run",
        ),
    ]
