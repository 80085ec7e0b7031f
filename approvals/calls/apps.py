from django.apps import AppConfig


class CallsConfig(AppConfig):
    name = "approvals.calls"
    label = "calls"
    verbose_name = "Tool calls"
