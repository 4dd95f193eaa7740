"""Decide which sequence runs next: fair shares, budgets, limits, predicted costs.

Pure policy: no torch, asyncio, clock or I/O. Callers pass the time in, so tests turn it by hand.
"""

from arno.batching.costs import IMAGE_TOKENS, AnswerLengths, ImagePrice, Pace
from arno.batching.debts import Debts, RecentTenants
from arno.batching.fairness import LanePolicy
from arno.batching.limits import AdaptiveLimit, Phase, PhaseShare
from arno.batching.scheduler import Budget, Schedulable, Scheduler
from arno.batching.turns import Claim, Room, Turns

__all__ = [
    "IMAGE_TOKENS",
    "AdaptiveLimit",
    "AnswerLengths",
    "Budget",
    "Claim",
    "Debts",
    "ImagePrice",
    "LanePolicy",
    "Pace",
    "Phase",
    "PhaseShare",
    "RecentTenants",
    "Room",
    "Schedulable",
    "Scheduler",
    "Turns",
]
