from django.apps import AppConfig
from django.db.models.signals import post_migrate


class TenantsConfig(AppConfig):
    name = "approvals.tenants"
    label = "tenants"
    verbose_name = "Tenants and people"

    def ready(self) -> None:
        from approvals.db.grants import grant_runtime_roles

        post_migrate.connect(grant_runtime_roles, sender=self)
