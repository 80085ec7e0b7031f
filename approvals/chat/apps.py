from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "approvals.chat"
    label = "chat"
    verbose_name = "Chat"
