"""Why an answer is refused. Late is not forbidden: each of these has its own status on the page."""

from __future__ import annotations

from approvals.reviews.models import ReviewRequest


class TooLate(Exception):
    """The request is no longer open. `review` says who decided what, and when."""

    def __init__(self, review: ReviewRequest) -> None:
        super().__init__(self.__class__.__doc__)
        self.review = review


class Stale(Exception):
    """What the person saw is not what the request asks now; nothing was decided."""


class Invalid(Exception):
    """The answer does not fit. `field` says where; nothing was decided."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field
