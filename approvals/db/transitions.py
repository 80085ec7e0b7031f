"""State changes as guarded UPDATEs: the status read is in the WHERE clause, and the count says who won."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db import models


class TransitionQuerySet(models.QuerySet[Any]):
    SOURCES: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def transition(self, to: str, **changes: Any) -> int:
        """Move every row that may legally become `to`; return how many moved."""
        return self.filter(status__in=self.SOURCES[to]).update(status=to, **changes)
