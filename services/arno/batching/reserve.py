"""Keep slots free for the tenants that were active a moment ago.

A sequence that decodes is not interrupted, and neither is the preparation of an image. Where one
tenant takes every slot, each call of another waits until one becomes free, however small its own
share is; it may be as long as an answer, for slots that were taken together become free together.
So what another tenant has needed lately beyond what it has now stays free, up to a part of all
slots. A tenant that is alone has all of them.

Nothing is kept for a flood, a tenant that asks for more than its share on the average of the last
seconds: its work always waits, and each slot that becomes free is for the tenant whose turn it is.
Else two floods would keep half of the slots from each other, and from the tenant between them. And
a tenant that is no flood leaves nothing before it has as many slots as the others, so that none is
held up while slots are free.

The more a tenant needed, the sooner that is forgotten: one that calls now and then finds a slot,
and one that had many and is gone holds nothing up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

KEPT_SLOT_S: Final = 30.0
"""A need of one slot is remembered for so long, of two for half of it: slots times seconds."""

_AVERAGE_S: Final = 2.0
"""What a tenant asks for is averaged over so long, so that a burst is no flood."""

_GAP_S_MAX: Final = 0.1
"""A longer pause between two notes counts as this: nothing is known of what it was like."""

_REMEMBERED_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class _Need:
    """What a tenant needs, in sequences that it has in the engine at once, waiting or not.

    Attributes:
        count: Now.
        average: Of the last seconds.
        peak: The most that are remembered.
        peak_at_s: When it had so many.
    """

    count: int
    average: float
    peak: int
    peak_at_s: float


class SlotReserve:
    """What each tenant must leave free. Not thread-safe."""

    def __init__(self, share: float) -> None:
        """Take the largest part of the slots that is kept free, at least one slot; 0 keeps none."""
        self._share = share
        self._needs: dict[str, _Need] = {}
        self._noted_s: float | None = None

    def note(self, counts: Mapping[str, int], now_s: float) -> None:
        """Note how many sequences each tenant has in the engine, those that wait included."""
        gap_s = 0.0 if self._noted_s is None else min(now_s - self._noted_s, _GAP_S_MAX)
        self._noted_s = now_s
        old_part = math.exp(-gap_s / _AVERAGE_S)
        needs: dict[str, _Need] = {}
        for tenant in self._needs.keys() | counts.keys():
            count = counts.get(tenant, 0)
            known = self._needs.get(tenant) or _Need(count, count, count, now_s)
            average = old_part * known.average + (1 - old_part) * count
            forgotten = known.peak * (now_s - known.peak_at_s) > KEPT_SLOT_S
            if forgotten or count >= known.peak:
                known = _Need(count, average, count, now_s)
            if known.peak:
                needs[tenant] = _Need(count, average, known.peak, known.peak_at_s)
        while len(needs) > _REMEMBERED_MAX:
            del needs[min(needs, key=lambda tenant: needs[tenant].peak)]
        self._needs = needs

    def rule(self, started: Mapping[str, int], slots: int) -> Callable[[str], bool]:
        """Return whether a tenant may start one more. Its first one it always may.

        Args:
            started: Sequences that have started and not ended, by tenant. Another start needs
                another rule.
            slots: Of the engine, free or not.
        """
        kept_max = math.ceil(self._share * slots)
        if not kept_max or len(self._needs) < 2:
            return lambda tenant: True
        averages = [need.average for need in self._needs.values()]
        share, spare = _fair_share(averages, slots), max(0.0, slots - sum(averages))
        unused = {
            tenant: max(0, need.peak - started.get(tenant, 0))
            for tenant, need in self._needs.items()
            if need.average <= share
        }
        total, free = sum(unused.values()), slots - sum(started.values())
        equal_part = slots / len(averages)

        def may_start(tenant: str) -> bool:
            need = self._needs.get(tenant)
            if need is None or not started.get(tenant):
                return True
            is_burst = need.count > need.average + spare
            if need.average <= share and (not is_burst or started[tenant] < equal_part):
                return True
            return free > min(kept_max, total - unused.get(tenant, 0))

        return may_start


def _fair_share(averages: Iterable[float], slots: int) -> float:
    """Return the most that one tenant gets where each gets alike, and none more than it asks for.

    It is infinite where the slots are enough for all.
    """
    left = float(slots)
    ascending = sorted(averages)
    for position, average in enumerate(ascending):
        tenants_left = len(ascending) - position
        if average * tenants_left > left:
            return left / tenants_left
        left -= average
    return math.inf
