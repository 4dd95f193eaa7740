"""Divide the time of a call: so much for the work, the rest for answering before the caller leaves.

A call of T seconds (its own deadline, or the server's default, never above the maximum) has a
margin of ``answer_margin_s``, or a fifth of T where that is less. Work stops at T - margin, which
is the deadline that workers see; they then store what has ended. If nothing is heard from them
until T - margin / 2, the gateway answers with what the store holds.
"""

from __future__ import annotations

from dataclasses import dataclass

from arno.errors import DeadlineExceededError
from arno.gateway.settings import GatewayLimits

_MARGIN_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class TimeBudget:
    """The time of one call, in seconds from its start.

    Attributes:
        work_s: When workers stop.
        answer_s: When the gateway answers with whatever there is.
    """

    work_s: float
    answer_s: float


def time_budget(remaining_s: float | None, *, limits: GatewayLimits) -> TimeBudget:
    """Return the budget of a call.

    Args:
        remaining_s: Time until the call's own deadline; None where it has none.
        limits: Default, maximum and margin.

    Raises:
        DeadlineExceededError: Nothing is left.
    """
    total_s = limits.default_deadline_s if remaining_s is None else remaining_s
    total_s = min(total_s, limits.deadline_s_max)
    if total_s <= 0:
        raise DeadlineExceededError("the deadline of the call had passed when it was read")
    margin_s = min(limits.answer_margin_s, total_s * _MARGIN_SHARE)
    return TimeBudget(work_s=total_s - margin_s, answer_s=total_s - margin_s / 2)
