from django.apps import AppConfig


class RunnerConfig(AppConfig):
    name = "approvals.runner"
    label = "runner"
    verbose_name = "Runner"
