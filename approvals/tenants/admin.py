from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.http import HttpRequest

from approvals.tenants.admin_site import OperatorsAdmin
from approvals.tenants.models import Membership, Tenant, User


class MembersInline(admin.TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ["user"]


@admin.register(Tenant)
class TenantAdmin(OperatorsAdmin):
    list_display = ["name", "slug", "undo_seconds", "decide_within_minutes", "created_at"]
    search_fields = ["name", "slug"]
    inlines = [MembersInline]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a tenant's record outlives it; erasing one is a command of its own


@admin.register(Membership)
class MembershipAdmin(OperatorsAdmin):
    list_display = ["user", "tenant", "role", "created_at"]
    list_filter = ["role", "tenant"]
    list_select_related = ["user", "tenant"]
    autocomplete_fields = ["user", "tenant"]
    search_fields = ["user__email", "tenant__name"]


class NewUserForm(AdminUserCreationForm):
    email = forms.EmailField()

    class Meta:
        model = User
        fields = ["email", "name"]


@admin.register(User)
class GatehouseUserAdmin(OperatorsAdmin, UserAdmin):
    add_form = NewUserForm
    list_display = ["email", "name", "is_active", "is_staff", "last_login"]
    list_filter = ["is_active", "is_staff"]
    search_fields = ["email", "name"]
    ordering = ["email"]
    filter_horizontal = []
    readonly_fields = ["last_login", "created_at"]
    fieldsets = [
        (None, {"fields": ["email", "name", "password"]}),
        ("Access", {"fields": ["is_active", "is_staff", "is_superuser"]}),
        ("Times", {"fields": ["last_login", "created_at"]}),
    ]
    add_fieldsets = [(None, {"fields": ["email", "name", "usable_password", "password1", "password2"]})]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # who decided what must stay known; deactivate instead
