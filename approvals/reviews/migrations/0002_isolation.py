from django.db import migrations

from approvals.db.tenant_tables import isolate


class Migration(migrations.Migration):
    dependencies = [("reviews", "0001_tables")]

    operations = [
        isolate(
            "reviews_reviewrequest",
            conversation_id="conversations_conversation",
            thread_id="conversations_thread",
            run_id="conversations_run",
            call_id="calls_toolcall",
        ),
        isolate("reviews_decision", request_id="reviews_reviewrequest"),
    ]
