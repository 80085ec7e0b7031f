"""What a call is, as one number: the digest that people see, approve and that is executed."""

from __future__ import annotations

import json
from uuid import UUID

from agents.canonical import digest


def call_digest(*, tenant_id: UUID, run_id: UUID, message_id: str, call_id: str, tool: str, arguments: str) -> str:
    """SHA-256 over whose call it is, which one, and its canonical arguments. Versions are pinned beside it, not in it."""
    return digest(
        tenant=str(tenant_id),
        run=str(run_id),
        message=message_id,
        call=call_id,
        tool=tool,
        arguments=json.loads(arguments),
    )
