from __future__ import annotations

from django.contrib import admin

from approvals.reviews.models import Decision, ReviewRequest
from approvals.tenants.admin_site import ReadOnlyAdmin


class DecisionsInline(admin.TabularInline):
    model = Decision
    extra = 0
    can_delete = False
    fields = ["reviewer", "verdict", "digest", "feedback", "created_at", "effective_at", "undone_at"]
    readonly_fields = ["reviewer", "verdict", "digest", "feedback", "created_at", "effective_at", "undone_at"]


@admin.register(ReviewRequest)
class ReviewRequestAdmin(ReadOnlyAdmin):
    list_display = ["label", "title", "tenant", "status", "risk", "requester", "created_at", "decide_by"]
    list_filter = ["status", "risk", "kind", "tenant"]
    list_select_related = ["tenant", "requester"]
    search_fields = ["title", "tool_name"]
    inlines = [DecisionsInline]


@admin.register(Decision)
class DecisionAdmin(ReadOnlyAdmin):
    list_display = ["request", "tenant", "verdict", "reviewer", "created_at", "effective_at", "undone_at"]
    list_filter = ["verdict", "tenant"]
    list_select_related = ["request", "tenant", "reviewer"]
