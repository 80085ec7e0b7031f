from django.apps import AppConfig


class DatabaseConfig(AppConfig):
    name = "approvals.db"
    label = "db"

    def ready(self) -> None:
        from approvals.db import checks  # noqa: F401  # registers them
