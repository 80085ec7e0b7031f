from django.db import migrations

from approvals.db.tenant_tables import isolate


class Migration(migrations.Migration):
    dependencies = [("conversations", "0001_tables")]

    operations = [
        isolate("conversations_agent"),
        isolate("conversations_hold", agent_id="conversations_agent"),
        isolate("conversations_conversation", agent_id="conversations_agent"),
        isolate("conversations_thread", conversation_id="conversations_conversation", parent_id="conversations_thread"),
        isolate("conversations_run", conversation_id="conversations_conversation", thread_id="conversations_thread"),
        isolate(
            "conversations_message",
            conversation_id="conversations_conversation",
            thread_id="conversations_thread",
            run_id="conversations_run",
        ),
    ]
