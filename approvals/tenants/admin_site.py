"""Django admin for operators: the stock one, across tenants, with what people decided there to read and not to change."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import cached_property

from approvals.db.routing import across_tenants

COUNT_TO = 10_000  # rows; counting all of a large table would make every page of it slow


class OperatorsSite(admin.AdminSite):
    site_header = site_title = "Gatehouse"
    index_title = "Operate"

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Every page of the admin sees all tenants, once its person is known to be an operator."""
        inner = super().admin_view(view, cacheable)

        def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not self.has_permission(request):
                return inner(request, *args, **kwargs)  # type: ignore[no-any-return]
            with across_tenants():
                response = inner(request, *args, **kwargs)
                if hasattr(response, "render"):
                    response.render()  # while the rows can be seen
            return response  # type: ignore[no-any-return]

        return page


class CountedToALimit(Paginator):
    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return rows.order_by()[:COUNT_TO].count() if isinstance(rows, QuerySet) else len(rows)


class OperatorsAdmin(admin.ModelAdmin):
    show_full_result_count = False
    paginator = CountedToALimit
    list_per_page = 50


class ReadOnlyAdmin(OperatorsAdmin):
    """The record: operators read it, nobody changes it here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
