from django.contrib.admin.apps import AdminConfig


class OperatorsAdminConfig(AdminConfig):
    default_site = "approvals.tenants.admin_site.OperatorsSite"
