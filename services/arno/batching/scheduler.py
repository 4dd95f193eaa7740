"""Choose the sequences that start next, from queues by lane and tenant.

Each turn goes to the lane with the best claim, in it to the tenant that was charged least, and of
that tenant to the oldest sequence. Sequences are seen through `Schedulable` only. The owner of the
queue withdraws those that were cancelled or whose deadline has come.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from arno.batching.fairness import FairShares, LanePolicy
from arno.batching.reserve import SlotReserve


class Schedulable(Protocol):
    """A sequence as the scheduler sees it; compared and hashed by identity."""

    @property
    def lane(self) -> str:
        """Priority class."""

    @property
    def tenant(self) -> str:
        """Tenant that is charged for it."""

    @property
    def arrived_s(self) -> float:
        """Monotonic time of its admission; never less than that of a sequence admitted before."""

    @property
    def cost(self) -> float:
        """Predicted work, more than 0; its lane and its tenant are charged this."""

    @property
    def size(self) -> float:
        """Part of a group's budget that it takes while it runs, in the unit of that budget."""


Work = TypeVar("Work", bound=Schedulable)


@dataclass(frozen=True, slots=True)
class Budget:
    """What one group may hold.

    Attributes:
        count_max: Most sequences.
        size_max: Largest total size; a single sequence may be larger, for it must run too.
        slots: Of the engine, free or not; of these a tenant leaves some to others. None: no
            tenant leaves any.
        started: Sequences that have started and not ended, by tenant.
    """

    count_max: int
    size_max: float = float("inf")
    slots: int | None = None
    started: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Lane(Generic[Work]):
    """The queues of a lane, by tenant, none of them empty; and what its tenants were charged."""

    queues: dict[str, deque[Work]] = field(default_factory=dict)
    tenants: FairShares = field(default_factory=FairShares)

    def oldest_s(self, tenant: str) -> float:
        """Return when the first sequence of a tenant's queue arrived."""
        return self.queues[tenant][0].arrived_s

    def next(self, may_start: Callable[[str], bool]) -> Work:
        """Return the oldest sequence of the tenant that was charged least, of those that may."""
        ready = filter(may_start, self.queues)
        tenant = min(ready, key=lambda name: (self.tenants.spent(name), self.oldest_s(name)))
        return self.queues[tenant][0]


class Scheduler(Generic[Work]):
    """Sequences that wait, and the rule by which they leave. Not thread-safe, but for `len`."""

    def __init__(self, policy: LanePolicy, *, reserve_share: float = 0.0) -> None:
        """Start empty.

        Args:
            policy: How lanes share.
            reserve_share: Largest part of the slots that one tenant leaves to the others.
        """
        self._policy = policy
        self._reserve = SlotReserve(reserve_share)
        self._lanes: dict[str, _Lane[Work]] = {}
        self._shares = FairShares()
        self._count = 0

    def __len__(self) -> int:
        """Return how many sequences wait."""
        return self._count

    def admit(self, work: Work) -> None:
        """Queue a sequence behind those of its lane and tenant."""
        queues = self._lanes.setdefault(work.lane, _Lane()).queues
        queues.setdefault(work.tenant, deque()).append(work)
        self._count += 1

    def withdraw(self, work: Work) -> None:
        """Take out a sequence that waits.

        Raises:
            KeyError, ValueError: It does not wait.
        """
        queues = self._lanes[work.lane].queues
        queue = queues[work.tenant]
        queue.remove(work)
        if not queue:
            del queues[work.tenant]
        self._count -= 1

    def schedule(self, budget: Budget, now_s: float) -> list[Work]:
        """Take out the group that starts next; empty where nothing may start."""
        group: list[Work] = []
        size = 0.0
        started = Counter(budget.started)
        self._note(started, now_s)
        while len(group) < budget.count_max:
            may_start = self._rule(budget, started)
            work = self._next(now_s, may_start)
            if work is None:
                break
            size += work.size
            if group and size > budget.size_max:
                break  # skipping it for a smaller one would overtake it
            self._charge(work, may_start)
            self.withdraw(work)
            started[work.tenant] += 1
            group.append(work)
        return group

    def any_may_start(self, budget: Budget, now_s: float) -> bool:
        """Return whether `schedule` would return anything."""
        self._note(budget.started, now_s)
        return any(map(self._rule(budget, budget.started), self._tenants()))

    def _note(self, started: Mapping[str, int], now_s: float) -> None:
        """Note what each tenant needs now.

        Here and by no caller: where it is forgotten no slot is kept, and nothing fails.
        """
        counts = Counter(started)
        for lane in self._lanes.values():
            counts.update({tenant: len(queue) for tenant, queue in lane.queues.items()})
        self._reserve.note(counts, now_s)

    def _rule(self, budget: Budget, started: Mapping[str, int]) -> Callable[[str], bool]:
        """Return whether a tenant may start one more now."""
        if budget.slots is None:
            return lambda tenant: True
        return self._reserve.rule(started, budget.slots)

    def _tenants(self) -> Iterator[str]:
        return (tenant for lane in self._lanes.values() for tenant in lane.queues)

    def _next(self, now_s: float, may_start: Callable[[str], bool]) -> Work | None:
        """Return the oldest sequence of the best tenant of the lane with the best claim."""
        lanes = self._ready(may_start)
        if not lanes:
            return None
        chosen = min(lanes, key=lambda lane: self._claim(lane, now_s, may_start))
        return self._lanes[chosen].next(may_start)

    def _ready(self, may_start: Callable[[str], bool]) -> list[str]:
        """Return the lanes in which a sequence waits that may start."""
        return [name for name, lane in self._lanes.items() if any(map(may_start, lane.queues))]

    def _claim(
        self, name: str, now_s: float, may_start: Callable[[str], bool]
    ) -> tuple[float, float]:
        """Return a lane's claim to the next turn: the lowest wins."""
        lane = self._lanes[name]
        oldest_s = min(map(lane.oldest_s, filter(may_start, lane.queues)))
        credit = self._policy.ageing_per_s * (now_s - oldest_s)
        return self._shares.spent(name) - credit, oldest_s

    def _charge(self, work: Work, may_start: Callable[[str], bool]) -> None:
        # Tenants that may not start now hoard no credit meanwhile.
        weighted = work.cost / self._policy.weight(work.lane)
        self._shares.charge(work.lane, weighted, self._ready(may_start))
        lane = self._lanes[work.lane]
        lane.tenants.charge(work.tenant, work.cost, list(filter(may_start, lane.queues)))
