from django.apps import AppConfig


class PoliciesConfig(AppConfig):
    name = "approvals.policies"
    label = "policies"
    verbose_name = "Policies"
