"""Tables that row-level security does not bind, each for a reason that was thought about.

A new table is not added here to make a test pass: it is isolated by `approvals.db.tenant_tables.isolate`, or the reason
is written down.
"""

from __future__ import annotations

EXEMPT = {
    "public.tenants_tenant": "sign-in and slugs come before a tenant is known",
    "public.tenants_user": "a person may be in several tenants, and signs in before one is known",
    "public.tenants_membership": "says which tenant a person may act for",
    "public.tenants_user_groups": "Django admin's; operators only",
    "public.tenants_user_user_permissions": "Django admin's; operators only",
    "public.auth_group": "Django admin's; operators only",
    "public.auth_group_permissions": "Django admin's; operators only",
    "public.auth_permission": "Django's; names of models",
    "public.account_emailaddress": "allauth's; of a person, before a tenant is known",
    "public.account_emailconfirmation": "allauth's; of a person, before a tenant is known",
    "public.django_admin_log": "Django admin's; operators only",
    "public.django_content_type": "Django's; names of models",
    "public.django_migrations": "Django's; written by the owner only",
    "public.django_session": "Django's; found by a secret key, before a tenant is known",
    "public.gatehouse_cache": "counts of sign-in attempts",
    "public.calls_cataloguetool": "what the installation's graphs can do: nobody's data",
    "public.conversations_lease": "ids and times only; the sweep and the fence read it across tenants",
    "public.reviews_requestcounter": "a number and an id",
    "public.procrastinate_jobs": "ids only; a worker takes a job before it knows whose it is",
    "public.procrastinate_events": "of jobs: ids only",
    "public.procrastinate_periodic_defers": "of the sweep",
    "public.procrastinate_workers": "heartbeats",
    "langgraph.checkpoint_migrations": "a version number",
}
