"""State changes as guarded UPDATEs: the status read is in the WHERE clause, and the count says who won."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from django.db import models


class TransitionQuerySet(models.QuerySet[Any]):
    SOURCES: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def locked(self) -> Self:
        """Lock these rows, and only these, against every change but of what refers to them.

        Foreign keys are checked at the commit, behind the audit's lock, and need the referred row's key: with FOR UPDATE
        a message sent while a run paused was a deadlock.
        """
        return self.select_for_update(of=("self",), no_key=True)

    def transition(self, to: str, **changes: Any) -> int:
        """Move every row that may legally become `to`; return how many moved."""
        return self.filter(status__in=self.SOURCES[to]).update(status=to, **changes)
