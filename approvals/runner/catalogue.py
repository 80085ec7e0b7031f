"""What the worker's graphs can do, published as rows, for pages and policies that never import a graph."""

from __future__ import annotations

import json
from collections.abc import Iterable

from django.db import transaction
from django.db.models.functions import Now

from agents.registry import RegisteredGraph
from approvals.calls.models import CatalogueTool
from approvals.calls.titles import manifest_to_json


@transaction.atomic
def publish(graphs: Iterable[RegisteredGraph]) -> None:
    """Write each tool's present version. Older ones stay: an open request is shown by the version it was asked in."""
    for found in graphs:
        CatalogueTool.objects.filter(graph_id=found.id).update(current=False)
        for card in found.tools.values():
            CatalogueTool.objects.update_or_create(
                graph_id=found.id,
                name=card.name,
                version=card.version,
                defaults={
                    "description": card.description,
                    "schema_text": json.dumps(card.schema),
                    "manifest": manifest_to_json(card.manifest),
                    "current": True,
                    "seen_at": Now(),
                },
            )
