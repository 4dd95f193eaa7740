"""Choose whose work starts next where work that has started cannot be interrupted.

Each turn goes to the tenant that was charged least, and of that tenant to its first work. A tenant
never has more than its share of the room, not even while nothing else waits: work that cannot be
interrupted is in the way of whatever comes a moment later. Nothing here is thread-safe.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from arno.batching.fairness import FairShares
from arno.batching.reserve import SlotReserve


class Claim(Protocol):
    """Work as the turns see it; compared and hashed by identity."""

    @property
    def tenant(self) -> str:
        """Tenant that is charged for it."""

    @property
    def cost(self) -> float:
        """Predicted work, more than 0; its tenant is charged this until the work has ended."""

    @property
    def size(self) -> float:
        """Part of the room that it takes while it runs, in the unit of `Room.size_max`."""

    @property
    def rank(self) -> tuple[float, int]:
        """Its place among the work of its tenant: the lowest is first, and no two are equal."""


Work = TypeVar("Work", bound=Claim)


@dataclass(frozen=True, slots=True)
class Room:
    """What may run at once.

    Attributes:
        count_max: Most pieces of work.
        size_max: Largest total size; a single piece may be larger, for it must run too.
        tenant_share: Part of both that one tenant may have; one piece of it always fits.
        whole_for: The tenant that stands for all callers where there are no tenants; it may have
            everything.
        reserve_share: Part of the count that one tenant leaves, at most, to what other tenants
            needed lately. One that is alone has everything.
    """

    count_max: int
    size_max: float = float("inf")
    tenant_share: float = 1.0
    whole_for: Hashable = None
    reserve_share: float = 0.0


@dataclass(slots=True)
class _Use:
    """What of one tenant, or of all, runs."""

    count: int = 0
    size: float = 0.0

    def fits(self, size: float, count_max: int, size_max: float) -> bool:
        """Return whether one more piece of this size may start."""
        return self.count < count_max and (not self.count or self.size + size <= size_max)


@dataclass(slots=True)
class _Tenant(Generic[Work]):
    """Work of one tenant that waits, as a heap by rank, and what of it runs."""

    waiting: list[tuple[tuple[float, int], Work]] = field(default_factory=list)
    running: _Use = field(default_factory=_Use)

    @property
    def first(self) -> Work:
        """The work that is next."""
        return self.waiting[0][1]


class Turns(Generic[Work]):
    """Work that waits, work that runs, and the rule by which one becomes the other."""

    def __init__(self, room: Room) -> None:
        """Start empty."""
        self._room = room
        self._tenants: dict[str, _Tenant[Work]] = {}
        self._shares = FairShares()
        self._reserve = SlotReserve(room.reserve_share)
        self._running = _Use()
        self._waiting_count = 0

    def __len__(self) -> int:
        """Return how many pieces of work wait."""
        return self._waiting_count

    def add(self, work: Work) -> None:
        """Queue a piece of work."""
        tenant = self._tenants.setdefault(work.tenant, _Tenant())
        heapq.heappush(tenant.waiting, (work.rank, work))
        self._waiting_count += 1

    def take(self, now_s: float = 0.0) -> Work | None:
        """Start the next piece of work and return it; None where nothing may start now.

        Where the work of the tenant whose turn it is does not fit beside what runs, nothing else
        overtakes it: it would wait for ever where small work never ends.

        Args:
            now_s: Monotonic time, by which what is reserved for others is forgotten.
        """
        counts = {name: one.running.count + len(one.waiting) for name, one in self._tenants.items()}
        self._reserve.note(counts, now_s)
        started = {name: one.running.count for name, one in self._tenants.items()}
        may_start = self._reserve.rule(started, self._room.count_max)
        ready = [
            name
            for name, tenant in self._tenants.items()
            if may_start(name) and self._within_share(name, tenant)
        ]
        if not ready:
            return None
        name = min(ready, key=lambda one: (self._shares.spent(one), self._tenants[one].first.rank))
        tenant = self._tenants[name]
        work = tenant.first
        if not self._running.fits(work.size, self._room.count_max, self._room.size_max):
            return None
        self._shares.charge(name, work.cost, ready)
        heapq.heappop(tenant.waiting)
        self._waiting_count -= 1
        for use in (tenant.running, self._running):
            use.count += 1
            use.size += work.size
        return work

    def end(self, work: Work, cost: float) -> None:
        """Note that work which was started has ended, and what it cost.

        The difference from the prediction is charged now, so that nothing is gained by work that
        is dearer than it looks.
        """
        self._shares.correct(work.tenant, cost - work.cost)
        tenant = self._tenants[work.tenant]
        for use in (tenant.running, self._running):
            use.count -= 1
            # Sums of floats drift; with nothing running the size is nothing.
            use.size = use.size - work.size if use.count else 0.0
        if not (tenant.waiting or tenant.running.count):
            del self._tenants[work.tenant]

    def _within_share(self, name: str, tenant: _Tenant[Work]) -> bool:
        room = self._room
        share = 1.0 if name == room.whole_for else room.tenant_share
        count_max = max(1, int(share * room.count_max))
        return bool(tenant.waiting) and tenant.running.fits(
            tenant.first.size, count_max, share * room.size_max
        )
