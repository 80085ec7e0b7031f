from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    name = "approvals.conversations"
    label = "conversations"
    verbose_name = "Conversations"
