"""Decide who runs next: fair shares, budgets, deadlines.

Pure policy. No torch, asyncio, clock or I/O: whoever calls it says what time it is, so every rule
is tested with a clock that the test turns by hand.
"""

from arno.batching.adaptive_limit import AdaptiveLimit
from arno.batching.clock import Clock
from arno.batching.costs import IMAGE_TOKENS, AnswerLengths, ImagePrice, Pace
from arno.batching.entries import Entry
from arno.batching.lanes import LanePolicy
from arno.batching.scheduler import Budget, Decision, Scheduler
from arno.batching.stages import Stage, StageShare

__all__ = [
    "IMAGE_TOKENS",
    "AdaptiveLimit",
    "AnswerLengths",
    "Budget",
    "Clock",
    "Decision",
    "Entry",
    "ImagePrice",
    "LanePolicy",
    "Pace",
    "Scheduler",
    "Stage",
    "StageShare",
]
