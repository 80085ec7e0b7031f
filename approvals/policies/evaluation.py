"""Who must approve what. One built-in rule set for now: reads pass, everything else asks one reviewer.

`judge` is total and deterministic: the gate asks it when a call is proposed and again at the claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agents.contracts import Effect, Manifest, Risk

VERSION = "built-in 1"


class Outcome(StrEnum):
    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    outcome: Outcome
    why: str  # a sentence for people
    risk: Risk
    version: str = VERSION


def judge(manifest: Manifest | None) -> Judgement:
    if manifest is None:
        return Judgement(outcome=Outcome.ASK, why="A tool without a manifest always asks.", risk=Risk.UNKNOWN)
    if manifest.effect is Effect.READS:
        return Judgement(outcome=Outcome.ALLOW, why="Tools that only read run by themselves.", risk=manifest.risk)
    return Judgement(outcome=Outcome.ASK, why="Every tool that does more than read asks.", risk=manifest.risk)
