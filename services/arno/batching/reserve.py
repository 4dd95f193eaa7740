"""Keep slots free for the tenants that were active a moment ago.

A sequence that decodes is not interrupted, and neither is the preparation of an image. Where one
tenant takes every slot, each call of another waits until one becomes free, however small its own
share is; it may be as long as an answer, for slots that were taken together become free together.
So a tenant leaves as many slots free as the others have needed lately, up to a part of all. A
tenant that is alone has all of them.

The more a tenant needed, the sooner that is forgotten: one that calls now and then finds a slot,
and one that had many and is gone holds nothing up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

KEPT_SLOT_S: Final = 30.0
"""A need of one slot is remembered for so long, of two for half of it: slots times seconds."""

_REMEMBERED_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class _Peak:
    """The most sequences that a tenant had in the engine at once, and when."""

    count: int
    at_s: float


class SlotReserve:
    """What each tenant must leave free. Not thread-safe."""

    def __init__(self, share: float) -> None:
        """Take the largest part of the slots that is kept from one tenant; 0 keeps none."""
        self._share = share
        self._peaks: dict[str, _Peak] = {}
        self._total = 0

    def note(self, counts: Mapping[str, int], now_s: float) -> None:
        """Note how many sequences each tenant has in the engine, those that wait included."""
        peaks = {
            tenant: peak
            for tenant, peak in self._peaks.items()
            if peak.count * (now_s - peak.at_s) <= KEPT_SLOT_S
        }
        for tenant, count in counts.items():
            if tenant not in peaks or count >= peaks[tenant].count:
                peaks[tenant] = _Peak(count, now_s)
        while len(peaks) > _REMEMBERED_MAX:
            del peaks[min(peaks, key=lambda tenant: peaks[tenant].count)]
        self._peaks = peaks
        self._total = sum(peak.count for peak in peaks.values())

    def most(self, tenant: str, slots: int) -> int:
        """Return how many of the slots a tenant may have, at least one."""
        own = self._peaks.get(tenant)
        others = self._total - (own.count if own else 0)
        return max(1, slots - min(int(self._share * slots), others))
