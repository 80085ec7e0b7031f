"""Deliberate breaks of what Gatehouse promises, each of which the tests must catch: a suite that stays green is blind.

One bug is one replacement in one file. `python -m tests.torture.seeded_bugs` prints the table of what caught each of
them (docs/seeded-bugs.md) from the newest results of tests/torture/test_seeded_bugs.py.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
RESULTS = CHECKOUT / ".cache" / "torture" / "seeded_bugs.json"
PRODUCT = ("approvals", "agents", "templates", "static", "manage.py", "langgraph.json", "pyproject.toml")
COPIED = (*PRODUCT, "tests", "requirements")
LONGEST_RUN = 300  # seconds of one bug's tests
FAILED = re.compile(r"^FAILED (?P<test>tests/.+?)(?: - (?P<why>.*))?$", re.MULTILINE)
ERROR = re.compile(r"^E   (\w[\w.]+(?:: .*)?)$", re.MULTILINE)
# A break that does not even run proves nothing: it would fail any test.
DOES_NOT_RUN = re.compile(
    r"SyntaxError|syntax error at|IndentationError|NameError|UnboundLocalError|ImportError|ModuleNotFoundError"
    r"|AttributeError|TypeError|UndefinedColumn|UndefinedTable|UndefinedFunction|IndeterminateDatatype"
)
LEDGER = "tests/runner/test_ledger.py"
GAPS = "tests/runner/test_seeded_gaps.py"
ATTACKS = "tests/agents/test_gate_attacks.py"
GATE_GAPS = "tests/agents/test_seeded_gaps.py"
UNTRUSTED = "tests/reviews/test_untrusted_text.py"
CHECKPOINTS = "tests/runner/test_langgraph_checkpoints.py"
CATALOGUE = "tests/db/test_catalogue.py"
TENANCY = "tests/system/test_tenancy.py"
BAD_INPUT = "tests/system/test_bad_input.py"
ASKS_ANEW = f"{LEDGER}::test_an_approval_that_no_longer_holds_asks_anew"


@dataclass(frozen=True, kw_only=True)
class Bug:
    """`old`, which stands exactly once in `path`, becomes `new`; then `caught_by` must fail."""

    name: str
    promise: str  # of docs/guarantees.md: "G4"
    path: str
    old: str
    new: str
    caught_by: str  # a test file, or a test in it

    def put_into(self, folder: Path) -> None:
        file = folder / self.path
        text = file.read_text()
        assert text.count(self.old) == 1, f"{self.name}: {self.path} has changed"
        file.write_text(text.replace(self.old, self.new))


CLAIM_PATH = "approvals/runner/ledger.py"
BUGS = [
    # --- the claim: each guard alone --------------------------------------------------------------------------------
    Bug(
        name="the claim does not compare the digest",
        promise="G5",
        path=CLAIM_PATH,
        old="   AND COALESCE(NULLIF(c.approved_digest, ''), c.digest) = %(digest)s\n",
        new="",
        caught_by=f"{ASKS_ANEW}[edit_what_would_run]",
    ),
    Bug(
        name="the claim does not count allowances",
        promise="G2",
        path=CLAIM_PATH,
        old="c.status IN ('allowed', 'approved') AND c.attempt < c.allowances",
        new="c.status IN ('allowed', 'approved')",
        caught_by=f"{ASKS_ANEW}[use_up_the_allowance]",
    ),
    Bug(
        name="the claim does not wait for the undo window",
        promise="G3",
        path=CLAIM_PATH,
        old="   AND (c.effective_at IS NULL OR c.effective_at <= clock_timestamp())\n",
        new="",
        caught_by=f"{LEDGER}::test_the_claim_itself_honours_the_window_whatever_asked_it",
    ),
    Bug(
        name="an approval never expires",
        promise="G6",
        path=CLAIM_PATH,
        old="   AND (c.execute_by IS NULL OR c.execute_by > clock_timestamp())\n",
        new="",
        caught_by=f"{ASKS_ANEW}[run_out_of_time]",
    ),
    Bug(
        name="a newer tool runs under the approval of the older one",
        promise="G9",
        path=CLAIM_PATH,
        old="   AND c.tool_version = %(tool_version)s AND c.graph_version = %(graph_version)s\n",
        new="   AND c.graph_version = %(graph_version)s\n",
        caught_by=f"{LEDGER}::test_a_newer_tool_asks_anew_and_the_new_approval_counts",
    ),
    Bug(
        name="a newer graph runs under the approval of the older one",
        promise="G9",
        path=CLAIM_PATH,
        old="   AND c.tool_version = %(tool_version)s AND c.graph_version = %(graph_version)s\n",
        new="   AND c.tool_version = %(tool_version)s\n",
        caught_by=f"{ASKS_ANEW}[change_the_graph]",
    ),
    Bug(
        name="a newer policy does not void the approval",
        promise="G9",
        path=CLAIM_PATH,
        old="   AND c.policy_version = %(policy_version)s\n   AND (c.effective_at",
        new="   AND (c.effective_at",
        caught_by=f"{ASKS_ANEW}[change_the_policy]",
    ),
    Bug(
        name="an open question is not compared with the versions of now",
        promise="G9",
        path=CLAIM_PATH,
        old="if status == CallStatus.ASKED and self._is_pinned_to_this(call, found):",
        new="if status == CallStatus.ASKED:",
        caught_by=f"{GAPS}::test_an_open_question_is_asked_anew_when_its_tool_has_changed",
    ),
    Bug(
        name="an approval counts although its reviewer has lost the role",
        promise="G6",
        path=CLAIM_PATH,
        old=" AND m.role = ANY(%(deciding_roles)s)",
        new="",
        caught_by=f"{ASKS_ANEW}[revoke_the_role]",
    ),
    Bug(
        name="a reviewer of another tenant counts at the claim",
        promise="G7",
        path=CLAIM_PATH,
        old="ON m.user_id = d.reviewer_id AND m.tenant_id = c.tenant_id",
        new="ON m.user_id = d.reviewer_id",
        caught_by=f"{GAPS}::test_a_role_in_another_tenant_approves_nothing_here",
    ),
    Bug(
        name="an approval counts although its reviewer was deactivated",
        promise="G6",
        path=CLAIM_PATH,
        old="u.id = d.reviewer_id AND u.is_active",
        new="u.id = d.reviewer_id",
        caught_by=f"{ASKS_ANEW}[deactivate_the_person]",
    ),
    Bug(
        name="the requester's own approval counts at the claim",
        promise="G6",
        path=CLAIM_PATH,
        old="AND d.reviewer_id <> q.requester_id",
        new="AND true",
        caught_by=f"{ASKS_ANEW}[let_the_requester_decide]",
    ),
    Bug(
        name="an approval that was taken back counts at the claim",
        promise="G1",
        path=CLAIM_PATH,
        old="WHERE d.undone_at IS NULL AND d.verdict",
        new="WHERE d.verdict",
        caught_by=f"{ASKS_ANEW}[mark_the_decision_undone]",
    ),
    Bug(
        name="any verdict counts as an approval at the claim",
        promise="G1",
        path=CLAIM_PATH,
        old=" AND d.verdict IN ('approve', 'edit')",
        new="",
        caught_by=f"{ASKS_ANEW}[turn_the_verdict]",
    ),
    Bug(
        name="an approval of a request that is open again counts",
        promise="G1",
        path=CLAIM_PATH,
        old=" AND q.call_id = c.id AND q.status = 'decided'",
        new=" AND q.call_id = c.id",
        caught_by=f"{ASKS_ANEW}[reopen_the_request]",
    ),
    Bug(
        name="an approval of an older asking counts",
        promise="G1",
        path=CLAIM_PATH,
        old="(q.kind = 'call' AND q.asking = c.asking)",
        new="(q.kind = 'call')",
        caught_by=f"{ASKS_ANEW}[an_older_asking]",
    ),
    Bug(
        name="an approval that was used up counts again",
        promise="G2",
        path=CLAIM_PATH,
        old=" AND (c.started_at IS NULL OR d.effective_at > c.started_at)",
        new="",
        caught_by=f"{GAPS}::test_an_approval_that_was_used_up_does_not_count_again",
    ),
    Bug(
        name="after a deploy a crashed call is run again by code that nobody approved",
        promise="G9",
        path=CLAIM_PATH,
        old="rerun in RERUN_FREELY and self._is_pinned_to_this(call, found)",
        new="rerun in RERUN_FREELY",
        caught_by=f"{LEDGER}::test_after_a_crash_and_a_deploy_it_goes_to_a_person",
    ),
    Bug(
        name="asking anew leaves the old allowance",
        promise="G1",
        path=CLAIM_PATH,
        old="       execute_by = NULL, allowances = attempt, title = %(title)s,",
        new="       execute_by = NULL, title = %(title)s,",
        caught_by=f"{ASKS_ANEW}[run_out_of_time]",
    ),
    # --- whose run it is ----------------------------------------------------------------------------------------------
    Bug(
        name="the ledger does not compare the lease's epoch",
        promise="G2",
        path=CLAIM_PATH,
        old=" AND r.status = 'running' AND l.epoch = %(epoch)s",
        new=" AND r.status = 'running'",
        caught_by=f"{LEDGER}::test_a_worker_whose_lease_was_taken_over_claims_nothing",
    ),
    Bug(
        name="a stopped run still claims",
        promise="G1",
        path=CLAIM_PATH,
        old=" AND r.status = 'running' AND l.epoch = %(epoch)s",
        new=" AND l.epoch = %(epoch)s",
        caught_by=f"{LEDGER}::test_nothing_is_claimed_or_proposed_for_a_run_that_is_not_driven[cancelled]",
    ),
    Bug(
        name="a stop does not wait for a claim under way",
        promise="G1",
        path=CLAIM_PATH,
        old="   FOR SHARE OF r FOR KEY SHARE OF l\n",
        new="   FOR KEY SHARE OF l\n",
        caught_by=f"{GAPS}::test_a_stop_waits_for_a_claim_that_has_written_nothing_yet",
    ),
    Bug(
        name="a takeover does not wait for a claim under way",
        promise="G2",
        path=CLAIM_PATH,
        old="   FOR SHARE OF r FOR KEY SHARE OF l\n",
        new="   FOR SHARE OF r\n",
        caught_by=f"{GAPS}::test_a_lease_is_not_taken_over_while_a_claim_is_under_way",
    ),
    Bug(
        name="a hold does not wait for a claim under way",
        promise="G1",
        path=CLAIM_PATH,
        old="await connection.execute(GATE_LOCK, (self.tenant_id,))",
        new='await connection.execute("SELECT 1")',
        caught_by=f"{GAPS}::test_a_hold_waits_for_a_claim_that_has_begun",
    ),
    Bug(
        name="a hold is ignored at the claim",
        promise="G1",
        path=CLAIM_PATH,
        old='return bool(row["held"])',
        new="return False",
        caught_by=f"{LEDGER}::test_while_held_nothing_is_claimed_people_decide_and_lifting_wakes[tool]",
    ),
    Bug(
        name="a hold is ignored where a crashed call is taken over",
        promise="G1",
        path=CLAIM_PATH,
        old="HOLDABLE = {CallStatus.ALLOWED, CallStatus.APPROVED, CallStatus.EXECUTING}",
        new="HOLDABLE = {CallStatus.ALLOWED, CallStatus.APPROVED}",
        caught_by=f"{LEDGER}::test_a_crashed_call_waits_for_the_hold_before_it_runs_again",
    ),
    Bug(
        name="a hold is ignored where a run starts",
        promise="G1",
        path="approvals/runner/outcomes.py",
        old='    _lock_holds()\n    return "" in _holds_on(run)\n',
        new="    return False\n",
        caught_by=f"{LEDGER}::test_a_run_on_hold_is_not_due",
    ),
    Bug(
        name="lifting a hold wakes nobody",
        promise="G3",
        path="approvals/reviews/actions/holding.py",
        old='.order_by("pk"):\n        queue_run(run, at=None)\n',
        new='.order_by("pk"):\n        pass\n',
        caught_by=f"{LEDGER}::test_while_held_nothing_is_claimed_people_decide_and_lifting_wakes[everything]",
    ),
    # --- what a call is, and what it came to --------------------------------------------------------------------------
    Bug(
        name="the same call id with other arguments passes for the approved call",
        promise="G5",
        path=CLAIM_PATH,
        old='if found["digest"] != self._digest(call):',
        new="if False:",
        caught_by=f"{LEDGER}::test_the_same_id_with_other_arguments_is_refused",
    ),
    Bug(
        name="a call that can never run is asked about",
        promise="G1",
        path=CLAIM_PATH,
        old="if call.problem or judgement.outcome is Outcome.DENY:",
        new="if judgement.outcome is Outcome.DENY:",
        caught_by=f"{LEDGER}::test_a_call_that_can_never_run_is_refused_and_nobody_is_asked",
    ),
    Bug(
        name="a tool without a manifest runs by itself",
        promise="G1",
        path="approvals/policies/evaluation.py",
        old='Judgement(outcome=Outcome.ASK, why="A tool without a manifest',
        new='Judgement(outcome=Outcome.ALLOW, why="A tool without a manifest',
        caught_by=f"{GAPS}::test_a_tool_that_says_nothing_of_itself_asks_and_runs_once",
    ),
    Bug(
        name="a tool without a manifest may be run again after a crash",
        promise="G2",
        path=CLAIM_PATH,
        old="return manifest.rerun if manifest else Rerun.ONCE",
        new="return manifest.rerun if manifest else Rerun.READ",
        caught_by=f"{GAPS}::test_a_tool_that_says_nothing_of_itself_asks_and_runs_once",
    ),
    Bug(
        name="a tool that runs once is run again after a crash",
        promise="G2",
        path=CLAIM_PATH,
        old="RERUN_FREELY = {Rerun.READ, Rerun.IDEMPOTENT, Rerun.TRANSACTIONAL}",
        new="RERUN_FREELY = {Rerun.READ, Rerun.IDEMPOTENT, Rerun.TRANSACTIONAL, Rerun.ONCE}",
        caught_by=f"{LEDGER}::test_after_a_crash_a_tool_that_runs_once_goes_to_a_person",
    ),
    Bug(
        name="an executing call of another epoch is claimed again",
        promise="G2",
        path=CLAIM_PATH,
        old="if status == CallStatus.EXECUTING:\n            return await self._after_a_crash(",
        new="if status == CallStatus.EXECUTING:\n"
        '            await self._moved(connection, TAKE_OVER, {"id": found["id"], "epoch": self.epoch})\n'
        "            return _grant(found)\n            return await self._after_a_crash(",
        caught_by=f"{LEDGER}::test_after_a_crash_a_tool_that_runs_once_goes_to_a_person",
    ),
    Bug(
        name="a claim that an earlier drive lost is waited for as if it were in flight",
        promise="G2",
        path=CLAIM_PATH,
        old=' and found["id"] in self.granted:',
        new=":",
        caught_by=f"{LEDGER}::test_a_drive_that_lost_its_receipt_does_not_wait_for_itself",
    ),
    Bug(
        name="each run after a crash has an idempotency key of its own",
        promise="G2",
        path=CLAIM_PATH,
        old="idempotency_key=f\"{row['id']}:{row['attempt']}\"",
        new="idempotency_key=str(uuid4())",
        caught_by=f"{LEDGER}::test_after_a_crash_it_runs_again_under_the_same_key[idempotent]",
    ),
    Bug(
        name="a receipt of a stale worker counts",
        promise="G2",
        path=CLAIM_PATH,
        old=" AND attempt = %(attempt)s AND epoch = %(epoch)s AND status IN ('executing', 'unknown')",
        new=" AND attempt = %(attempt)s AND status IN ('executing', 'unknown')",
        caught_by=f"{LEDGER}::test_after_a_crash_it_runs_again_under_the_same_key[transactional]",
    ),
    Bug(
        name="a call is settled twice",
        promise="G2",
        path=CLAIM_PATH,
        old=" AND epoch = %(epoch)s AND status IN ('executing', 'unknown')",
        new=" AND epoch = %(epoch)s",
        caught_by=f"{LEDGER}::test_effect_and_receipt_commit_together_and_only_once",
    ),
    Bug(
        name="a receipt that comes late is thrown away",
        promise="G2",
        path=CLAIM_PATH,
        old=" AND status IN ('executing', 'unknown')\n",
        new=" AND status = 'executing'\n",
        caught_by=f"{LEDGER}::test_a_late_receipt_settles_what_was_unknown",
    ),
    Bug(
        name="nobody hears of a receipt that came late",
        promise="G3",
        path=CLAIM_PATH,
        old="if was == CallStatus.UNKNOWN and self.on_late_receipt is not None:",
        new="if False:",
        caught_by=f"{LEDGER}::test_a_late_receipt_settles_what_was_unknown",
    ),
    Bug(
        name="a transactional effect commits without its receipt",
        promise="G2",
        path=CLAIM_PATH,
        old="        if not await self.ledger._settle(self.connection, self.grant, receipt):\n"
        "            raise NoLongerOurs\n",
        new="        await self.ledger._settle(self.connection, self.grant, receipt)\n",
        caught_by=f"{LEDGER}::test_effect_and_receipt_commit_together_and_only_once",
    ),
    Bug(
        name="a transactional effect happens after its run was stopped",
        promise="G1",
        path=CLAIM_PATH,
        old="-> AsyncIterator[_TransactionalEffect]:\n        async with self._transaction() as connection:\n",
        new="-> AsyncIterator[_TransactionalEffect]:\n        async with self._transaction() as connection:\n"
        "            yield _TransactionalEffect(self, connection, grant)\n"
        "            return\n",
        caught_by=f"{GAPS}::test_a_stopped_run_has_no_transactional_effect",
    ),
    Bug(
        name="a rejection is told before it can no longer be taken back",
        promise="G3",
        path=CLAIM_PATH,
        old='        if found["too_early"]:  # decided, but it can still be taken back\n',
        new='        if found["too_early"] and status == CallStatus.APPROVED:\n',
        caught_by=f"{LEDGER}::test_what_a_person_says_of_an_outcome_is_told_when_it_can_no_longer_be_taken_back",
    ),
    Bug(
        name="a claim leaves no entry in the audit",
        promise="G8",
        path=CLAIM_PATH,
        old='            connection, "call.executing", found["id"], digest=guard["digest"], attempt=found["attempt"] + 1\n',
        new='            connection, "call.executing", found["id"], digest=guard["digest"], attempt=found["attempt"] + 1\n'
        '        ) if found["status"] == CallStatus.ALLOWED else await connection.execute(\n'
        '            "SELECT 1"\n',
        caught_by=f"{LEDGER}::test_every_step_leaves_its_entry_in_the_chain",
    ),
    # --- the gate -------------------------------------------------------------------------------------------------------
    Bug(
        name="the decision is taken from the resume value",
        promise="G1",
        path="agents/gate.py",
        old="            interrupt(tool_approval(call, entered))  # raises. Should somebody answer it, the ledger is asked"
        " again\n",
        new="            if interrupt(tool_approval(call, entered)):\n"
        "                text = str(await self._inner.ainvoke(json.loads(call.arguments), config))\n"
        "                return ToolMessage(text, name=self.name, tool_call_id=call.call_id)\n",
        caught_by=f"{ATTACKS}::test_a_resume_value_of_another_client",
    ),
    Bug(
        name="two calls of one message under one id are taken for one call",
        promise="G1",
        path="agents/gate.py",
        old='problem=_misnumbered(input["id"], message) or problem,',
        new="problem=problem,",
        caught_by=f"{ATTACKS}::test_duplicated_call_ids_in_one_message",
    ),
    Bug(
        name="a call's identity leaves its message out",
        promise="G1",
        path="agents/gate.py",
        old="message.id if message and message.id else _place_in_graph(config)",
        new='"the same"',
        caught_by=f"{ATTACKS}::test_a_call_id_reused_in_a_later_message",
    ),
    Bug(
        name="the arguments of the graph run, not those of the grant",
        promise="G5",
        path="agents/gate.py",
        old="self._inner.ainvoke(dict(grant.arguments), config)",
        new="self._inner.ainvoke(json.loads(call.arguments), config)",
        caught_by=f"{GATE_GAPS}::test_what_was_granted_runs_whatever_the_graph_says",
    ),
    Bug(
        name="arguments that cannot be shown run all the same",
        promise="G5",
        path="agents/gate.py",
        old='            return "{}", f"The arguments cannot be shown to people faithfully: {error}."\n',
        new='            return "{}", ""\n',
        caught_by=f"{ATTACKS}::test_arguments_that_cannot_be_shown",
    ),
    Bug(
        name="effects in flight are not waited for",
        promise="G2",
        path="approvals/runner/driving.py",
        old="                await at_rest(self.context)\n",
        new="                pass\n",
        caught_by=f"{GAPS}::test_a_drive_ends_when_its_effects_have",
    ),
    Bug(
        name="the gate knows of no effect in flight",
        promise="G2",
        path="agents/gate.py",
        old="        await asyncio.wait(under_way)\n",
        new="        break\n",
        caught_by=f"{ATTACKS}::test_a_siblings_pause_while_an_approved_effect_runs",
    ),
    Bug(
        name="an effect is cancelled with the task that asked for it",
        promise="G2",
        path="agents/gate.py",
        old="await asyncio.shield(run.in_flight[entered.id])",
        new="await run.in_flight[entered.id]",
        caught_by=f"{GATE_GAPS}::test_an_effect_outlives_the_task_that_asked_for_it",
    ),
    Bug(
        name="a claim is cancelled with the task that asked for it",
        promise="G2",
        path="agents/gate.py",
        old="        return await asyncio.shield(entering)\n",
        new="        return await entering\n",
        caught_by=f"{GATE_GAPS}::test_a_claim_outlives_the_task_that_asked_for_it",
    ),
    Bug(
        name="a task left behind enters after its drive has ended",
        promise="G2",
        path="agents/gate.py",
        old="        if run.ended.is_set():\n            raise OutsideARun\n",
        new="",
        caught_by=f"{ATTACKS}::test_a_straggler_that_calls_when_the_drive_has_ended",
    ),
    Bug(
        name="a failed transactional effect is not rolled back",
        promise="G2",
        path="agents/gate.py",
        old="                if not receipt.ok:\n                    raise _RolledBack(receipt)\n",
        new="",
        caught_by=f"{GATE_GAPS}::test_a_failed_transactional_effect_is_rolled_back",
    ),
    Bug(
        name="arguments may hold NUL",
        promise="G5",
        path="agents/canonical.py",
        old='        if isinstance(each, str) and "\\x00" in each:\n'
        '            raise NotCanonical("contains a NUL character")\n',
        new="",
        caught_by=f"{ATTACKS}::test_arguments_that_cannot_be_shown[NUL]",
    ),
    Bug(
        name="arguments may hold NaN, Infinity and numbers beyond 2^53",
        promise="G5",
        path="agents/canonical.py",
        old="encoded = rfc8785.dumps(value)",
        new='encoded = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()',
        caught_by=f"{GATE_GAPS}::test_numbers_that_no_two_readers_agree_on_are_refused",
    ),
    Bug(
        name="arguments may be nested without limit",
        promise="G5",
        path="agents/canonical.py",
        old='            raise NotCanonical(f"nested deeper than {MAX_DEPTH}")\n',
        new="            continue\n",
        caught_by=f"{GATE_GAPS}::test_nesting_has_a_limit",
    ),
    Bug(
        name="arguments may be of any size",
        promise="G5",
        path="agents/canonical.py",
        old="    if len(encoded) > MAX_BYTES:\n",
        new="    if False:\n",
        caught_by=f"{ATTACKS}::test_arguments_that_cannot_be_shown[10 MB]",
    ),
    Bug(
        name="arguments that the schema does not know run",
        promise="G5",
        path="agents/canonical.py",
        old='strict = {"additionalProperties": False, **schema}',
        new="strict = dict(schema)",
        caught_by=f"{ATTACKS}::test_arguments_that_break_the_schema[undeclared]",
    ),
    Bug(
        name="tools that the model's provider executes are let in",
        promise="G1",
        path="agents/registry.py",
        old="if not _is_for_us(tool):",
        new="if False:",
        caught_by=f"{ATTACKS}::test_an_agent_with",
    ),
    # --- decisions ------------------------------------------------------------------------------------------------------
    Bug(
        name="the digest of something else is accepted",
        promise="G5",
        path="approvals/reviews/actions/deciding.py",
        old="    if answer.digest != review.digest:\n        raise Stale\n",
        new="",
        caught_by=f"{GAPS}::test_a_decision_about_something_else_decides_nothing",
    ),
    Bug(
        name="a decision does not look whether the request is still open",
        promise="G4",
        path="approvals/reviews/actions/deciding.py",
        old="still_open.transition(RequestStatus.DECIDED, closed_at=Now())",
        new="still_open.update(status=RequestStatus.DECIDED, closed_at=Now())",
        caught_by=f"{GAPS}::test_a_question_of_the_graph_is_answered_once",
    ),
    Bug(
        name="state changes do not look at the state",
        promise="G4",
        path="approvals/db/transitions.py",
        old="self.filter(status__in=self.SOURCES[to]).update(",
        new="self.update(",
        caught_by=f"{LEDGER}::test_a_withdrawn_question_is_told_and_cannot_be_approved",
    ),
    Bug(
        name="a request can be decided after its time",
        promise="G6",
        path="approvals/reviews/actions/deciding.py",
        old="ReviewRequest.objects.filter(in_time, pk=review.pk)",
        new="ReviewRequest.objects.filter(pk=review.pk)",
        caught_by=f"{LEDGER}::test_silence_means_no",
    ),
    Bug(
        name="silence counts as an approval",
        promise="G6",
        path="approvals/reviews/actions/asking.py",
        old="transition(CallStatus.EXPIRED, result=said, ended_at=Now())",
        new="transition(CallStatus.APPROVED, result=said, allowances=1)",
        caught_by=f"{LEDGER}::test_silence_means_no",
    ),
    Bug(
        name="the question what happened expires",
        promise="G2",
        path="approvals/reviews/actions/asking.py",
        old="ReviewRequest.objects.exclude(kind=ReviewRequest.Kind.OUTCOME)",
        new="ReviewRequest.objects.all()",
        caught_by=f"{GAPS}::test_what_happened_can_be_said_at_any_time",
    ),
    Bug(
        name="edited arguments are not checked against the schema",
        promise="G5",
        path="approvals/reviews/actions/deciding.py",
        old="if problem := problem_with(json.loads(text), tool.schema):",
        new='if problem := "":',
        caught_by=f"{LEDGER}::test_edited_arguments_run_and_the_digest_is_theirs",
    ),
    Bug(
        name="an edit keeps the digest of what was proposed",
        promise="G5",
        path="approvals/reviews/actions/deciding.py",
        old="            arguments=decision.arguments,\n        )\n",
        new="            arguments=call.arguments,\n        )\n",
        caught_by=f"{LEDGER}::test_edited_arguments_run_and_the_digest_is_theirs",
    ),
    Bug(
        name="edited arguments run under the digest of what was proposed",
        promise="G5",
        path=CLAIM_PATH,
        old='arguments=json.loads(row.get("approved_arguments") or row["arguments"])',
        new='arguments=json.loads(row["arguments"])',
        caught_by=f"{LEDGER}::test_edited_arguments_run_and_the_digest_is_theirs",
    ),
    Bug(
        name="a decision takes effect at once, without the undo window",
        promise="G3",
        path="approvals/reviews/actions/deciding.py",
        old="effective_at=_database_now() + timedelta(seconds=window)",
        new="effective_at=_database_now()",
        caught_by=f"{LEDGER}::test_an_approval_is_not_used_within_the_undo_window",
    ),
    Bug(
        name="a decision can be taken back after it took effect",
        promise="G4",
        path="approvals/reviews/actions/deciding.py",
        old="reviewer=by, undone_at=None, effective_at__gt=Now())",
        new="reviewer=by, undone_at=None)",
        caught_by=f"{LEDGER}::test_what_a_person_says_of_an_outcome_is_told_when_it_can_no_longer_be_taken_back",
    ),
    Bug(
        name="anybody takes anybody's decision back",
        promise="G4",
        path="approvals/reviews/actions/deciding.py",
        old="request=review, reviewer=by, undone_at=None",
        new="request=review, undone_at=None",
        caught_by=f"{GAPS}::test_only_the_person_who_decided_takes_it_back",
    ),
    Bug(
        name="a decision on a stopped run can be taken back",
        promise="G4",
        path="approvals/reviews/actions/deciding.py",
        old="    if run.status in ENDED:  #",
        new="    if False:  #",
        caught_by=f"{LEDGER}::test_a_decision_on_a_stopped_run_cannot_be_taken_back",
    ),
    Bug(
        name="a decision wakes nobody",
        promise="G3",
        path="approvals/reviews/actions/deciding.py",
        old="    queue_run(run, at=decision.effective_at)\n",
        new="",
        caught_by=f"{LEDGER}::test_a_call_is_asked_approved_claimed_once_and_settled",
    ),
    Bug(
        name="a decision leaves no entry in the audit",
        promise="G8",
        path="approvals/reviews/actions/deciding.py",
        old='    record(\n        f"request.{decision.verdict}",\n',
        new='    (lambda *_, **__: None)(\n        f"request.{decision.verdict}",\n',
        caught_by=f"{GAPS}::test_a_decision_leaves_its_entry_in_the_chain",
    ),
    Bug(
        name="withdrawing leaves the call asked",
        promise="G1",
        path="approvals/reviews/actions/stopping.py",
        old="        asked.transition(CallStatus.WITHDRAWN, result=WITHDRAWN, ended_at=Now())\n",
        new="",
        caught_by=f"{LEDGER}::test_a_withdrawn_question_is_told_and_cannot_be_approved",
    ),
    Bug(
        name="stopping leaves the calls approved",
        promise="G1",
        path="approvals/reviews/actions/stopping.py",
        old="        ToolCall.objects.filter(run=run).transition(CallStatus.WITHDRAWN, result=STOPPED, ended_at=Now())\n",
        new="",
        caught_by=f"{LEDGER}::test_a_decision_on_a_stopped_run_cannot_be_taken_back",
    ),
    # --- how a drive begins and ends -------------------------------------------------------------------------------------
    Bug(
        name="suspending does not look for calls settled meanwhile",
        promise="G3",
        path="approvals/runner/outcomes.py",
        old="    if ready:\n",
        new="    if False:\n",
        caught_by=f"{LEDGER}::test_an_approval_is_not_used_within_the_undo_window",
    ),
    Bug(
        name="requests are opened from what LangGraph shows, not from the ledger",
        promise="G3",
        path="approvals/runner/outcomes.py",
        old="    for call in calls:\n        if call.status in (CallStatus.ASKED",
        new="    for call in calls[:1]:\n        if call.status in (CallStatus.ASKED",
        caught_by=f"{GAPS}::test_each_undecided_call_is_asked_about",
    ),
    Bug(
        name="a new turn begins while the one before it waits",
        promise="G3",
        path="approvals/runner/outcomes.py",
        old='status__in=UNFINISHED).order_by("position").first()\n    if run is None or',
        new='status__in=(RunStatus.QUEUED, RunStatus.RUNNING)).order_by("position").first()\n    if run is None or',
        caught_by=f"{GAPS}::test_a_turn_waits_for_the_one_before_it",
    ),
    Bug(
        name="a stale worker takes the run back",
        promise="G2",
        path="approvals/runner/outcomes.py",
        old="wake_at__lte=Now(), epoch__lte=epoch)",
        new="wake_at__lte=Now())",
        caught_by=f"{LEDGER}::test_a_stale_worker_cannot_take_the_run_back",
    ),
    Bug(
        name="a stale worker ends the run",
        promise="G2",
        path="approvals/runner/outcomes.py",
        old="return run if run.status == RunStatus.RUNNING and run.epoch == epoch else None",
        new="return run if run.status == RunStatus.RUNNING else None",
        caught_by=f"{GAPS}::test_a_stale_worker_says_nothing_of_the_run",
    ),
    Bug(
        name="a run that ends leaves its questions open",
        promise="G3",
        path="approvals/runner/outcomes.py",
        old="        _close(run)\n        commit_is_repeatable()\n",
        new="        commit_is_repeatable()\n",
        caught_by=f"{GAPS}::test_a_run_that_ends_leaves_no_question_open",
    ),
    Bug(
        name="an answer is given to another question than it was meant for",
        promise="G5",
        path="approvals/runner/driving.py",
        old="return asked is not None and canonical(asked) == delivery.payload",
        new="return asked is not None",
        caught_by=f"{GAPS}::test_an_answer_is_not_given_to_another_question",
    ),
    Bug(
        name="an answer reaches the graph while it can be taken back",
        promise="G3",
        path="approvals/runner/outcomes.py",
        old="_undelivered(run).filter(effective_at__lte=Now()).select_related",
        new="_undelivered(run).select_related",
        caught_by=f"{GAPS}::test_an_answer_waits_for_the_undo_window_and_one_taken_back_is_never_given",
    ),
    Bug(
        name="an answer that was taken back reaches the graph",
        promise="G1",
        path="approvals/runner/outcomes.py",
        old="        request__status=RequestStatus.DECIDED,\n        delivered_at=None,\n        undone_at=None,\n",
        new="        delivered_at=None,\n",
        caught_by=f"{GAPS}::test_an_answer_waits_for_the_undo_window_and_one_taken_back_is_never_given",
    ),
    Bug(
        name="a lease that another worker holds is taken",
        promise="G2",
        path="approvals/runner/leases.py",
        old=" AND (expires_at IS NULL OR expires_at < clock_timestamp())",
        new="",
        caught_by=f"{GAPS}::test_a_lease_has_one_holder_until_it_runs_out",
    ),
    Bug(
        name="taking a lease over does not raise the epoch",
        promise="G2",
        path="approvals/runner/leases.py",
        old="SET epoch = epoch + 1, token",
        new="SET epoch = GREATEST(epoch, 1), token",
        caught_by=f"{LEDGER}::test_a_worker_whose_lease_was_taken_over_claims_nothing",
    ),
    Bug(
        name="the heart renews nothing",
        promise="G2",
        path="approvals/runner/leases.py",
        old="SET expires_at = clock_timestamp() + %s * interval '1 second'\n WHERE token",
        new="SET expires_at = GREATEST(expires_at, expires_at - %s * interval '1 second')\n WHERE token",
        caught_by=f"{GAPS}::test_the_heart_renews_a_lease_and_says_when_it_is_lost",
    ),
    Bug(
        name="a worker never learns that it lost its lease",
        promise="G2",
        path="approvals/runner/leases.py",
        old="for token in set(tokens) - renewed:",
        new="for token in renewed - set(tokens):",
        caught_by=f"{GAPS}::test_the_heart_renews_a_lease_and_says_when_it_is_lost",
    ),
    Bug(
        name="the sweep does not look for abandoned threads",
        promise="G3",
        path="approvals/runner/tasks.py",
        old="    await sync_to_async(_wake_abandoned_threads)()\n",
        new="",
        caught_by=f"{GAPS}::test_the_sweep_wakes_what_a_dead_worker_left",
    ),
    Bug(
        name="the sweep finds only runs that were never begun",
        promise="G3",
        path="approvals/runner/migrations/0002_sweeps.py",
        old="AND (l.expires_at IS NULL OR l.expires_at < now())",
        new="AND l.expires_at IS NULL",
        caught_by=f"{GAPS}::test_the_sweep_wakes_what_a_dead_worker_left",
    ),
    Bug(
        name="nobody closes a request whose time is over",
        promise="G6",
        path="approvals/runner/tasks.py",
        old="    await sync_to_async(_expire_overdue_requests)()\n",
        new="",
        caught_by=f"{GAPS}::test_the_sweep_closes_what_nobody_answered",
    ),
    # --- people and pages ----------------------------------------------------------------------------------------------
    Bug(
        name="the requester may decide",
        promise="G6",
        path="approvals/reviews/access.py",
        old="    if review.requester_id == member.user_id:\n",
        new="    if False:\n",
        caught_by=f"{BAD_INPUT}::test_nobody_decides_what_he_asked_for_himself[approve]",
    ),
    Bug(
        name="members and auditors may decide",
        promise="G6",
        path="approvals/reviews/access.py",
        old="    if member.role not in DECIDES:\n",
        new="    if False:\n",
        caught_by=f"{BAD_INPUT}::test_people_without_the_role_decide_nothing",
    ),
    Bug(
        name="reviewers put things on hold and lift holds",
        promise="G6",
        path="approvals/reviews/access.py",
        old="    if member.role not in MANAGES:\n",
        new="    if False:\n",
        caught_by=f"{GAPS}::test_only_admins_hold_and_lift",
    ),
    Bug(
        name="a decision needs no CSRF token",
        promise="G1",
        path="approvals/reviews/views.py",
        old="@require_POST\n@in_tenant\ndef decide_request(",
        new='@__import__("django.views.decorators.csrf", fromlist=["csrf_exempt"]).csrf_exempt\n'
        "@require_POST\n@in_tenant\ndef decide_request(",
        caught_by=f"{BAD_INPUT}::test_a_sending_without_the_csrf_token_is_refused",
    ),
    Bug(
        name="an edit is approved without the digest of its preview",
        promise="G5",
        path="approvals/reviews/views.py",
        old="        if digest != _edited_digest(review, edited):\n            raise Stale\n",
        new="",
        caught_by=f"{BAD_INPUT}::test_a_digest_of_something_else_decides_nothing",
    ),
    Bug(
        name="hidden characters are not shown",
        promise="G5",
        path="approvals/reviews/segments.py",
        old="if unicodedata.category(char) in HIDDEN_CATEGORIES and",
        new="if False and",
        caught_by=f"{UNTRUSTED}::test_what_a_reader_could_not_see_is_shown",
    ),
    Bug(
        name="letters of another script pass in an address",
        promise="G5",
        path="approvals/reviews/segments.py",
        old="        if len(scripts) < 2 or not LITERAL.search(token[0]):\n",
        new="        if True:\n",
        caught_by=f"{UNTRUSTED}::test_a_letter_of_another_script_in_an_address_is_shown",
    ),
    Bug(
        name="a model's HTML is rendered",
        promise="G5",
        path="approvals/chat/markdown.py",
        old='{"html": False, "linkify": False}',
        new='{"html": True, "linkify": False}',
        caught_by=f"{UNTRUSTED}::test_html_of_a_model_is_text",
    ),
    # --- tenants ---------------------------------------------------------------------------------------------------------
    Bug(
        name="anybody who is signed in enters any tenant",
        promise="G7",
        path="approvals/tenants/access.py",
        old='        return Membership.objects.select_related("tenant", "user").get(\n'
        "            tenant__slug=slug, user_id=user.pk, user__is_active=True\n"
        "        )\n",
        new='        found = Membership.objects.select_related("tenant", "user").filter(tenant__slug=slug)\n'
        '        return found.filter(user_id=user.pk).first() or found.earliest("pk")\n',
        caught_by=f"{TENANCY}::test_another_tenants_pages_are_not_there",
    ),
    Bug(
        name="a policy fails where the tenant was wiped, instead of matching no row",
        promise="G7",
        path="approvals/audit/migrations/0002_chain.py",
        old="    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))",
        new="    USING (tenant_id = (SELECT current_setting('app.tenant_id', true)::uuid))",
        caught_by=f"{CATALOGUE}::test_every_policy_binds_all_commands_to_the_tenant_that_is_set",
    ),
    Bug(
        name="one table has no policy",
        promise="G7",
        path="approvals/conversations/migrations/0002_isolation.py",
        old='        isolate("conversations_agent"),\n',
        new="",
        caught_by=f"{CATALOGUE}::test_every_table_is_isolated_or_exempt_for_a_reason",
    ),
    Bug(
        name="a row may point into another tenant",
        promise="G7",
        path="approvals/db/tenant_tables.py",
        old='FOREIGN KEY (tenant_id, {column}) "\n            f"REFERENCES {parent} (tenant_id, id)',
        new='FOREIGN KEY ({column}) "\n            f"REFERENCES {parent} (id)',
        caught_by=f"{TENANCY}::test_a_row_cannot_point_into_another_tenant",
    ),
    Bug(
        name="row-level security does not bind the owner of checkpoints",
        promise="G7",
        path="approvals/runner/migrations/0001_checkpoints.py",
        old="ALTER TABLE {table} FORCE ROW LEVEL SECURITY;\n",
        new="",
        caught_by=f"{CATALOGUE}::test_every_table_is_isolated_or_exempt_for_a_reason",
    ),
    Bug(
        name="a connection keeps the first tenant it was given",
        promise="G7",
        path="approvals/db/base.py",
        old="if self._pushed == wanted or self.connection is None:",
        new="if self._pushed is not None or self.connection is None:",
        caught_by=f"{GAPS}::test_a_connection_serves_whom_the_code_acts_for",
    ),
    Bug(
        name="a connection goes back to the pool with its tenant",
        promise="G7",
        path="approvals/db/base.py",
        old="            self._wipe_before_pooling()\n",
        new="            pass\n",
        caught_by=f"{GAPS}::test_a_connection_goes_back_to_the_pool_without_a_tenant",
    ),
    Bug(
        name="a process starts with a role that owns the tables",
        promise="G7",
        path="approvals/db/checks.py",
        old="    if owner:\n",
        new="    if False:\n",
        caught_by=f"{GAPS}::test_the_tables_owner_is_refused_as_a_role_to_run_with",
    ),
    Bug(
        name="the web process may write checkpoints",
        promise="G7",
        path="approvals/db/grants.py",
        old='"SELECT, INSERT, UPDATE, DELETE" if process == "worker" else "SELECT"',
        new='"SELECT, INSERT, UPDATE, DELETE"',
        caught_by=f"{TENANCY}::test_web_reads_checkpoints_and_audit_but_never_writes_them",
    ),
    Bug(
        name="the web process may change audit entries",
        promise="G8",
        path="approvals/db/grants.py",
        old='APPEND_ONLY = ("audit_auditevent",)',
        new="APPEND_ONLY: tuple[str, ...] = ()",
        caught_by=f"{TENANCY}::test_web_reads_checkpoints_and_audit_but_never_writes_them",
    ),
    Bug(
        name="the fence lets an older epoch write checkpoints",
        promise="G2",
        path="approvals/runner/migrations/0001_checkpoints.py",
        old="        AND epoch = NULLIF(",
        new="        AND epoch >= NULLIF(",
        caught_by=f"{CHECKPOINTS}::test_another_epoch_than_the_leases_writes_nothing",
    ),
    Bug(
        name="single checkpoint writes are not fenced",
        promise="G2",
        path="approvals/runner/migrations/0001_checkpoints.py",
        old="CREATE TRIGGER fence BEFORE INSERT OR UPDATE ON {SCHEMA}.checkpoint_writes\n"
        "    FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.fence();\n",
        new="",
        caught_by=f"{CHECKPOINTS}::test_single_writes_are_fenced_too",
    ),
    # --- the record ------------------------------------------------------------------------------------------------------
    Bug(
        name="an audit entry is not bound to the one before it",
        promise="G8",
        path="approvals/audit/migrations/0002_chain.py",
        old="entry.hash := audit_mark(head.hash, entry);",
        new="entry.hash := audit_mark('', entry);",
        caught_by=f"{CATALOGUE}::test_the_audit_chain_can_be_recomputed_and_a_change_shows",
    ),
    Bug(
        name="an audit entry can be changed",
        promise="G8",
        path="approvals/audit/migrations/0002_chain.py",
        old="BEFORE UPDATE OR DELETE ON audit_auditevent",
        new="BEFORE DELETE ON audit_auditevent",
        caught_by=f"{CATALOGUE}::test_an_audit_entry_is_changed_by_nobody",
    ),
    Bug(
        name="an audit entry is written outside the transaction of its change",
        promise="G8",
        path="approvals/audit/actions.py",
        old="    if not connection.in_atomic_block:\n",
        new="    if False:\n",
        caught_by=f"{GAPS}::test_an_entry_belongs_to_the_transaction_of_its_change",
    ),
]


# --- running them ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Result:
    key: str  # of the bug, the product and the test: another key, another run
    caught: bool
    test: str  # the first that failed
    why: str
    seconds: int


def copy_checkout(to: Path) -> Path:
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, to / name)
    return to


def key_of(tests: Iterable[str], bug: Bug | None = None, *, checkout: Path = CHECKOUT) -> str:
    """Changes when the bug, any file of the product or one of these test files does."""
    files = {path for name in PRODUCT for path in _files_of(checkout / name)}
    files |= {checkout / test.partition("::")[0] for test in tests}
    seen = hashlib.sha256(json.dumps(asdict(bug) if bug else [*tests]).encode())
    for path in sorted(files):
        seen.update(str(path.relative_to(checkout)).encode() + b"\0" + path.read_bytes() + b"\0")
    return seen.hexdigest()[:16]


def run_tests(folder: Path, tests: Sequence[str], *, seconds: float = LONGEST_RUN) -> tuple[int | None, str]:
    """pytest's exit code, None where it did not end in time, and what it said."""
    command = [sys.executable, "-m", "pytest", *tests, "-x", "-q", "-p", "no:randomly", "--tb=short"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment.pop("PYTHONPATH", None)  # the copy's own modules, not those of this checkout
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**environment, "COLUMNS": "400"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # with everything that the tests start
    )
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        return None, said
    return process.returncode, said


def try_bug(bug: Bug, folder: Path) -> Result:
    """Put the bug into a copy of the checkout and let the test look."""
    copy_checkout(folder)
    key = key_of([bug.caught_by], bug, checkout=folder)
    bug.put_into(folder)
    begun = time.monotonic()
    code, said = run_tests(folder, [bug.caught_by])
    failed = FAILED.search(said)
    why = (failed["why"] or "; ".join(ERROR.findall(said))) if failed else said[-1500:]
    return Result(
        key=key,
        caught=code == 1 and failed is not None and not DOES_NOT_RUN.search(why),
        test=failed["test"] if failed else "",
        why=why[:1500],
        seconds=round(time.monotonic() - begun),
    )


def _files_of(place: Path) -> Iterable[Path]:
    if place.is_file():
        return [place]
    return [path for path in place.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


# --- what was found -------------------------------------------------------------------------------------------------------


def results() -> dict[str, Result]:
    try:
        found = json.loads(RESULTS.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return {name: Result(**result) for name, result in found.items()}


def keep(name: str, result: Result) -> None:
    """Written at once, so that a run which is interrupted goes on where it was."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = {**results(), name: result}
        unfinished = RESULTS.with_suffix(".unfinished")
        unfinished.write_text(json.dumps({each: asdict(kept) for each, kept in known.items()}, indent=1))
        unfinished.replace(RESULTS)


def table(found: Mapping[str, Result]) -> str:
    lines = ["| Promise | Seeded bug | Caught by |", "| --- | --- | --- |"]
    for bug in sorted(BUGS, key=lambda each: (int(each.promise[1:]), each.path, each.name)):
        result = found.get(bug.name)
        by = f"`{result.test}`" if result and result.caught else "NOT CAUGHT" if result else "not tried"
        lines.append(f"| {bug.promise} | {bug.name} | {by} |")
    return "\n".join(lines)


def page(found: Mapping[str, Result]) -> str:
    return PAGE.format(bugs=len(BUGS), caught=sum(found[bug.name].caught for bug in BUGS if bug.name in found)) + table(
        found
    )


PAGE = """# Seeded bugs

A suite that stays green may be blind. Each of these {bugs} bugs breaks one promise of [the guarantees](guarantees.md) by one
replacement in one file; put into a copy of the checkout, it must make the test beside it fail. By the newest results
{caught} of them were caught.

`make torture` tries them all and goes on where it was interrupted; `make test` looks that each of them can still be put
in. The bugs are in `tests/torture/seeded_bugs.py`, and `python -m tests.torture.seeded_bugs` prints this page from the
newest results.

"""

if __name__ == "__main__":
    newest = results()
    print(page(newest))
    older = [bug.name for bug in BUGS if bug.name in newest and newest[bug.name].key != key_of([bug.caught_by], bug)]
    if older:
        print(f"{len(older)} results are of older code; `make torture` brings them up to date.", file=sys.stderr)
