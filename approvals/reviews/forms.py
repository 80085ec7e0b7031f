from __future__ import annotations

from typing import Any

from django import forms

from agents.canonical import storable
from approvals.calls.models import CatalogueTool
from approvals.conversations.models import Agent


class HoldForm(forms.Form):
    """What to hold: everything, one agent, or one tool of an agent or of all. Agents come from the tenant acted for."""

    agent = forms.ModelChoiceField(queryset=Agent.objects.none(), required=False, empty_label="Every agent")
    tool_name = forms.ChoiceField(required=False, label="Tool")
    reason = forms.CharField(max_length=300, error_messages={"required": "Say why, for the people who will wait."})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        agents = Agent.objects.all()
        self.fields["agent"].queryset = agents  # type: ignore[attr-defined]
        tools = CatalogueTool.objects.filter(graph_id__in=agents.values("graph_id"), current=True)
        names = tools.order_by("name").values_list("name", flat=True).distinct()
        self.fields["tool_name"].choices = [("", "Every tool"), *((name, name) for name in names)]  # type: ignore[attr-defined]

    def clean_reason(self) -> str:
        return storable(self.cleaned_data["reason"])
