from __future__ import annotations

from django.contrib import admin

from approvals.calls.models import CatalogueTool, ToolCall
from approvals.tenants.admin_site import ReadOnlyAdmin


@admin.register(ToolCall)
class ToolCallAdmin(ReadOnlyAdmin):
    list_display = ["title", "tool_name", "tenant", "status", "attempt", "created_at", "ended_at"]
    list_filter = ["status", "tenant"]
    list_select_related = ["tenant"]
    search_fields = ["tool_name"]


@admin.register(CatalogueTool)
class CatalogueToolAdmin(ReadOnlyAdmin):
    list_display = ["name", "graph_id", "version", "current", "seen_at"]
    list_filter = ["graph_id", "current"]
    search_fields = ["name"]
