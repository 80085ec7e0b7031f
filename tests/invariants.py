"""The invariants of docs/guarantees.md as SQL, for every test that runs the system: each violation comes back in words.

`Query` runs one SELECT and returns rows as mappings: within one tenant's scope, or across all of them as the operators'
role. Ask when nothing is in the middle of a transaction; each function sees committed rows only.

Told from the tables and the audit chain alone: I1 to I5, I7, I10 to I12, I14, and of I6 what the chain says. I8 (role and
policy valid at the claim) is history afterwards: tests/runner/test_state_machine.py looks at the moment. I9 and I13 have
tests of their own (tests/db, tests/system).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = Mapping[str, Any]
Query = Callable[..., list[dict[str, Any]]]


def asking(connection: psycopg.Connection[Any]) -> Query:
    def query(statement: str, *values: Any) -> list[dict[str, Any]]:
        return connection.cursor(row_factory=dict_row).execute(statement, values).fetchall()

    return query


def violations(query: Query) -> list[str]:
    """Everything that the product's own tables say against it."""
    return [*(str(row["what"]) for row in query(_TABLES)), *_replay(query)]


def effect_violations(query: Query, world: str = "test_world") -> list[str]:
    """What the world says: a table (call_id, attempt, idempotency_key, digest, at) that only the tools write."""
    return [str(row["what"]) for row in query(_EFFECTS.replace("test_world", world))]


# Percent signs are doubled: a Query always has parameters, if only an empty tuple.

# A claim, and the newest answer of a person before it. A policy's own claim needs none.
_CLAIMS = """
WITH claims AS (
  SELECT e.tenant_id, e.sequence, e.subject_id AS call_id, e.facts, c.run_id, c.tool_name,
         (SELECT max(p.sequence) FROM audit_auditevent p WHERE p.subject_id = e.subject_id AND p.sequence < e.sequence
             AND p.action IN ('call.executing', 'call.unknown', 'call.superseded')) AS used_up
    FROM audit_auditevent e JOIN calls_toolcall c ON c.id = e.subject_id
   WHERE e.action = 'call.executing' AND e.actor <> 'policy'
), answers AS (
  SELECT a.tenant_id, a.sequence, a.action, a.actor_id, a.facts, q.id AS request_id, q.call_id, q.digest, q.requester_id,
         (SELECT min(u.sequence) FROM audit_auditevent u
           WHERE u.subject_id = a.subject_id AND u.action = 'request.undone' AND u.sequence > a.sequence) AS undone
    FROM audit_auditevent a JOIN reviews_reviewrequest q ON q.id = a.subject_id
   WHERE a.action IN ('request.approve', 'request.edit', 'request.reject', 'request.respond', 'request.expired',
                      'request.withdrawn') AND q.call_id IS NOT NULL
)
"""

_TABLES = (
    _CLAIMS
    + """
SELECT format('I1 call %%s: %%s attempts, %%s allowed', id, attempt, allowances) AS what
  FROM calls_toolcall WHERE attempt > allowances
UNION ALL
SELECT format('I1 call %%s: %%s attempts, %%s claims in the chain', c.id, c.attempt, count(e.id))
  FROM calls_toolcall c LEFT JOIN audit_auditevent e ON e.subject_id = c.id AND e.action = 'call.executing'
 GROUP BY c.id, c.attempt HAVING count(e.id) <> c.attempt
UNION ALL
SELECT format('I2 call %%s was claimed (entry %%s) without an approval of its own', k.call_id, k.sequence)
  FROM claims k
 WHERE NOT EXISTS (SELECT 1 FROM answers a WHERE a.call_id = k.call_id AND a.action IN ('request.approve', 'request.edit')
                      AND a.sequence < k.sequence AND a.sequence > COALESCE(k.used_up, 0)
                      AND (a.undone IS NULL OR a.undone > k.sequence))
   AND NOT (k.used_up IS NULL AND EXISTS (
         SELECT 1 FROM audit_auditevent p WHERE p.subject_id = k.call_id AND p.action = 'call.allowed'))
UNION ALL
SELECT format('I3 call %%s ran as %%s, but %%s was approved', k.call_id, k.facts->>'digest', a.digest)
  FROM claims k JOIN answers a ON a.call_id = k.call_id
   AND a.sequence = (SELECT max(n.sequence) FROM answers n WHERE n.call_id = k.call_id AND n.sequence < k.sequence)
 WHERE a.action = 'request.approve' AND k.facts->>'digest' <> a.digest
UNION ALL
SELECT format('I3 decision %%s answers %%s, but %%s was shown', d.id, d.digest, q.digest)
  FROM reviews_decision d JOIN reviews_reviewrequest q ON q.id = d.request_id WHERE d.digest <> q.digest
UNION ALL
SELECT format('I4 call %%s was claimed (entry %%s) after %%s', k.call_id, k.sequence, a.action)
  FROM claims k JOIN answers a ON a.call_id = k.call_id AND a.sequence < k.sequence
 WHERE a.action NOT IN ('request.approve', 'request.edit') AND (a.undone IS NULL OR a.undone > k.sequence)
UNION ALL
SELECT format('I4 call %%s was claimed (entry %%s) after its run: %%s', k.subject_id, k.sequence, r.action)
  FROM audit_auditevent k JOIN calls_toolcall c ON c.id = k.subject_id
  JOIN audit_auditevent r ON r.subject_id = c.run_id AND r.sequence < k.sequence
   AND r.action IN ('run.cancelled', 'run.succeeded')
 WHERE k.action = 'call.executing'
UNION ALL
SELECT format('I5 request %%s is %%s with %%s decisions', q.id, q.status, count(d.id))
  FROM reviews_reviewrequest q LEFT JOIN reviews_decision d ON d.request_id = q.id AND d.undone_at IS NULL
 GROUP BY q.id, q.status
HAVING (q.status = 'decided' AND count(d.id) = 0) OR (q.status NOT IN ('decided', 'superseded') AND count(d.id) > 0)
UNION ALL
SELECT format('I5 call %%s is %%s, but its run is %%s', c.id, c.status, r.status)
  FROM calls_toolcall c JOIN conversations_run r ON r.id = c.run_id
 WHERE r.status IN ('succeeded', 'failed', 'cancelled') AND c.status IN ('asked', 'approved')
UNION ALL
SELECT format('I6 call %%s is unknown (entry %%s), but no other drive had begun since its claim', u.subject_id, u.sequence)
  FROM audit_auditevent u JOIN calls_toolcall c ON c.id = u.subject_id
 WHERE u.action = 'call.unknown' AND NOT EXISTS (
         SELECT 1 FROM audit_auditevent d WHERE d.subject_id = c.run_id AND d.action = 'run.driven'
            AND d.sequence < u.sequence AND d.sequence > (
              SELECT max(k.sequence) FROM audit_auditevent k WHERE k.subject_id = c.id AND k.action = 'call.executing'
                 AND k.sequence < u.sequence))
UNION ALL
SELECT format('I7 call %%s was claimed on the approval of its requester', k.call_id)
  FROM claims k JOIN answers a ON a.call_id = k.call_id AND a.actor_id = a.requester_id
   AND a.sequence = (SELECT max(n.sequence) FROM answers n WHERE n.call_id = k.call_id AND n.sequence < k.sequence)
UNION ALL
SELECT format('I10 entry %%s of %%s does not follow from the one before', e.sequence, e.tenant_id)
  FROM audit_auditevent e
  LEFT JOIN audit_auditevent p ON p.tenant_id = e.tenant_id AND p.sequence = e.sequence - 1
 WHERE (p.id IS NULL AND e.sequence <> 1) OR e.hash <> audit_mark(COALESCE(p.hash, ''), e)
UNION ALL
SELECT format('I10 the head of %%s is not its newest entry', h.tenant_id)
  FROM audit_audithead h
 WHERE NOT EXISTS (SELECT 1 FROM audit_auditevent e WHERE e.tenant_id = h.tenant_id AND e.sequence = h.sequence
                      AND e.hash = h.hash)
    OR EXISTS (SELECT 1 FROM audit_auditevent e WHERE e.tenant_id = h.tenant_id AND e.sequence > h.sequence)
UNION ALL
SELECT format('I11 entry %%s of run %%s was written under epoch %%s, after %%s', e.sequence, e.subject_id,
              e.facts->>'epoch', max((b.facts->>'epoch')::bigint))
  FROM audit_auditevent e
  JOIN audit_auditevent b ON b.subject_id = e.subject_id AND b.sequence < e.sequence AND b.facts ? 'epoch'
 WHERE e.action LIKE 'run.%%' AND e.facts ? 'epoch'
 GROUP BY e.id HAVING max((b.facts->>'epoch')::bigint) > (e.facts->>'epoch')::bigint
UNION ALL
SELECT format('I11 call %%s or its run carries an epoch that no lease had', c.id)
  FROM calls_toolcall c JOIN conversations_run r ON r.id = c.run_id JOIN conversations_lease l ON l.thread_id = c.thread_id
 WHERE c.epoch > l.epoch OR r.epoch > l.epoch
UNION ALL
SELECT format('I12 request %%s is open, but its run is %%s and its call %%s', q.id, r.status, c.status)
  FROM reviews_reviewrequest q JOIN conversations_run r ON r.id = q.run_id LEFT JOIN calls_toolcall c ON c.id = q.call_id
 WHERE q.status = 'pending'
   AND (r.status NOT IN ('queued', 'running', 'waiting', 'stuck')
        OR (r.status = 'waiting' AND q.kind = 'call' AND (c.status, c.asking) <> ('asked', q.asking))
        OR (r.status = 'waiting' AND q.kind = 'outcome' AND (c.status, c.attempt) <> ('unknown', q.asking)))
UNION ALL
SELECT format('I12 call %%s is %%s, its run waits, and nobody is asked', c.id, c.status)
  FROM calls_toolcall c JOIN conversations_run r ON r.id = c.run_id AND r.status = 'waiting'
 WHERE c.status IN ('asked', 'unknown')
   AND NOT EXISTS (SELECT 1 FROM reviews_reviewrequest q WHERE q.call_id = c.id AND q.status = 'pending')
UNION ALL
SELECT format('I14 run %%s waits, but for nobody', r.id)
  FROM conversations_run r
 WHERE r.status = 'waiting'
   AND NOT EXISTS (SELECT 1 FROM reviews_reviewrequest q WHERE q.run_id = r.id AND q.status = 'pending')
   AND NOT EXISTS (
         SELECT 1 FROM calls_toolcall c JOIN conversations_conversation v ON v.id = c.conversation_id
           JOIN conversations_hold h ON h.tenant_id = c.tenant_id AND h.lifted_at IS NULL
            AND (h.agent_id IS NULL OR h.agent_id = v.agent_id) AND h.tool_name IN ('', c.tool_name)
          WHERE c.run_id = r.id AND c.status IN ('approved', 'allowed', 'executing'))
"""
)

_EFFECTS = """
SELECT format('I1 call %%s: attempt %%s took effect %%s times', c.id, w.attempt, count(*)) AS what
  FROM test_world w JOIN calls_toolcall c ON c.id = w.call_id WHERE c.rerun IN ('once', 'transactional')
 GROUP BY c.id, w.attempt HAVING count(*) > 1
UNION ALL
SELECT format('I1 call %%s: attempt %%s took effect under %%s keys', c.id, w.attempt, count(DISTINCT w.idempotency_key))
  FROM test_world w JOIN calls_toolcall c ON c.id = w.call_id
 GROUP BY c.id, w.attempt HAVING count(DISTINCT w.idempotency_key) > 1
UNION ALL
SELECT format('I2 call %%s: attempt %%s took effect and was never claimed', w.call_id, w.attempt)
  FROM test_world w JOIN calls_toolcall c ON c.id = w.call_id WHERE w.attempt > c.attempt
UNION ALL
SELECT format('I3 call %%s took effect as %%s, claimed was %%s', w.call_id, w.digest, k.facts->>'digest')
  FROM test_world w JOIN calls_toolcall c ON c.id = w.call_id
  JOIN LATERAL (SELECT facts FROM audit_auditevent e WHERE e.subject_id = c.id AND e.action = 'call.executing'
                 ORDER BY e.sequence OFFSET w.attempt - 1 LIMIT 1) k ON true
 WHERE w.digest <> k.facts->>'digest'
UNION ALL
SELECT format('G2 call %%s is done, and nothing happened', c.id)
  FROM calls_toolcall c
 WHERE c.status = 'done' AND c.rerun = 'transactional' AND EXISTS (
         SELECT 1 FROM audit_auditevent e WHERE e.subject_id = c.id AND e.action = 'call.done')
   AND NOT EXISTS (SELECT 1 FROM test_world w WHERE w.call_id = c.id)
"""

# What an entry makes of the call it is about, or of the calls of the request or run it is about.
_BECOMES: Mapping[str, str] = {
    "call.allowed": "allowed",
    "call.asked": "asked",
    "call.denied": "denied",
    "call.executing": "executing",
    "call.taken_over": "executing",
    "call.unknown": "unknown",
    "call.superseded": "asked",
    "call.done": "done",
    "call.failed": "failed",
    "request.approve": "approved",
    "request.edit": "approved",
}
_OF_KIND: Mapping[tuple[str, str], str] = {
    ("request.reject", "call"): "rejected",
    ("request.respond", "call"): "answered",
    ("request.expired", "call"): "expired",
    ("request.withdrawn", "call"): "withdrawn",
    ("request.undone", "call"): "asked",
    ("request.reject", "outcome"): "failed",
    ("request.respond", "outcome"): "done",
    ("request.undone", "outcome"): "unknown",
}
_ENDS = {"run.cancelled", "run.succeeded", "run.failed"}

_CHAIN = """
SELECT e.tenant_id, e.sequence, e.action, e.subject_id AS subject,
       COALESCE(q.call_id, CASE WHEN e.action LIKE 'call.%%' THEN e.subject_id END) AS call_id, q.kind
  FROM audit_auditevent e LEFT JOIN reviews_reviewrequest q ON q.id = e.subject_id
 WHERE e.action LIKE 'call.%%' OR e.action LIKE 'request.%%' OR e.action = ANY(%s)
 ORDER BY e.tenant_id, e.sequence
"""


def _replay(query: Query) -> list[str]:
    """I10: the calls' statuses, told again from the chain alone, are those of the table."""
    calls = {row["id"]: row for row in query("SELECT id, run_id, status FROM calls_toolcall")}
    told: dict[Any, str] = {}
    for entry in query(_CHAIN, sorted(_ENDS)):
        call, action = entry["call_id"], entry["action"]
        if action in _ENDS:
            ended = [each for each, row in calls.items() if row["run_id"] == entry["subject"]]
            told.update({each: "withdrawn" for each in ended if told.get(each) in ("allowed", "asked", "approved")})
        elif call is not None:
            told[call] = _OF_KIND.get((action, entry["kind"])) or _BECOMES.get(action) or told.get(call, "")
    return [
        f"I10 call {call} is {row['status']}, but the chain says {told.get(call)}"
        for call, row in calls.items()
        if told.get(call) != row["status"]
    ]
