from __future__ import annotations

from django.contrib import admin

from approvals.conversations.models import Agent, Conversation, Message, Run
from approvals.tenants.admin_site import OperatorsAdmin, ReadOnlyAdmin


@admin.register(Agent)
class AgentAdmin(OperatorsAdmin):
    list_display = ["name", "tenant", "graph_id", "enabled", "created_at"]
    list_filter = ["tenant", "enabled"]
    list_select_related = ["tenant"]
    search_fields = ["name", "graph_id"]
    autocomplete_fields = ["tenant"]


class MessagesInline(admin.TabularInline):
    model = Message
    extra = 0
    can_delete = False
    fields = ["author", "text", "complete", "created_at"]
    readonly_fields = ["author", "text", "complete", "created_at"]
    ordering = ["created_at"]


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    list_display = ["title", "tenant", "user", "agent", "updated_at"]
    list_filter = ["tenant"]
    list_select_related = ["tenant", "user", "agent"]
    search_fields = ["title"]


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    list_display = ["id", "conversation", "tenant", "status", "requester", "failures", "created_at", "ended_at"]
    list_filter = ["status", "tenant"]
    list_select_related = ["conversation", "tenant", "requester"]
    inlines = [MessagesInline]
