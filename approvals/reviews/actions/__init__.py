"""The only writers of requests and decisions, a file for each group of verbs."""

from approvals.reviews.actions.asking import expire, open_request, supersede
from approvals.reviews.actions.deciding import Answer, checked_arguments, decide, undo
from approvals.reviews.actions.holding import lift_hold, place_hold
from approvals.reviews.actions.refusals import Invalid, Stale, TooLate
from approvals.reviews.actions.stopping import stop_run, withdraw

__all__ = [
    "Answer",
    "Invalid",
    "Stale",
    "TooLate",
    "checked_arguments",
    "decide",
    "expire",
    "lift_hold",
    "open_request",
    "place_hold",
    "stop_run",
    "supersede",
    "undo",
    "withdraw",
]
