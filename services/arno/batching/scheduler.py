"""Which expired entries leave, and which group starts next.

The leader of a group is the oldest entry of the tenant, of the lane, that was given least so far;
the rest are those with the leader's key, chosen in the same way until the budget is spent. So no
key can starve: every turn is led by whoever has the best claim, and then filled up.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from arno.batching.entries import Entry
from arno.batching.lanes import FairShares, LanePolicy


@dataclass(frozen=True, slots=True)
class Budget:
    """What one group may hold.

    Attributes:
        entries_max: At most so many entries.
        size_max: At most so much in all; a single entry may be larger, for it must run too.
    """

    entries_max: int
    size_max: float = float("inf")


@dataclass(frozen=True, slots=True)
class Decision:
    """What leaves the queue now.

    Attributes:
        expired: Too late to be started, in order of arrival.
        group: Start these together; empty where nothing waits.
    """

    expired: tuple[Entry, ...]
    group: tuple[Entry, ...]


class Scheduler:
    """The waiting entries, and the rule by which they leave: each exactly once. Not thread-safe."""

    def __init__(self, policy: LanePolicy) -> None:
        """Start empty."""
        self._policy = policy
        self._waiting: dict[str, Entry] = {}
        self._lanes = FairShares()
        self._tenants: defaultdict[str, FairShares] = defaultdict(FairShares)

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def admit(self, entry: Entry) -> None:
        """Let an entry wait, behind those that wait already.

        Raises:
            ValueError: One with its id waits already.
        """
        if entry.entry_id in self._waiting:
            raise ValueError(f"an entry {entry.entry_id!r} waits already")
        self._waiting[entry.entry_id] = entry

    def withdraw(self, entry_id: str) -> bool:
        """Take an entry out; say whether it was waiting."""
        return self._waiting.pop(entry_id, None) is not None

    def schedule(self, budget: Budget, now_s: float) -> Decision:
        """Take out the expired and the next group."""
        expired = tuple(entry for entry in self._waiting.values() if entry.expired(now_s))
        self._remove(expired)
        group = self._group(budget, now_s)
        return Decision(expired, tuple(group))

    def _group(self, budget: Budget, now_s: float) -> list[Entry]:
        group: list[Entry] = []
        candidates = list(self._waiting.values())
        while candidates and len(group) < budget.entries_max:
            entry = self._next(candidates, now_s)
            if group and _size(group) + entry.size > budget.size_max:
                break  # skipping it for a smaller one would overtake it
            self._charge(entry)
            self._remove([entry])
            group.append(entry)
            candidates = [e for e in candidates if e.group_key == entry.group_key and e != entry]
        return group

    def _next(self, candidates: list[Entry], now_s: float) -> Entry:
        """Return the candidate with the best claim; candidates come in order of arrival."""
        oldest: dict[str, Entry] = {}
        for entry in candidates:
            oldest.setdefault(entry.lane, entry)
        lane = min(oldest, key=lambda name: self._claim(oldest[name], now_s))
        in_lane = [entry for entry in candidates if entry.lane == lane]
        tenants = self._tenants[lane]
        return min(in_lane, key=lambda entry: tenants.spent(entry.tenant))  # the first of equals

    def _claim(self, entry: Entry, now_s: float) -> float:
        """Return the lane's claim to the next turn: the lower, the better."""
        credit = self._policy.ageing_per_s * (now_s - entry.arrived_s)
        return self._lanes.spent(entry.lane) - credit

    def _charge(self, entry: Entry) -> None:
        waiting = self._waiting.values()
        weighted = entry.cost / self._policy.weight(entry.lane)
        self._lanes.charge(entry.lane, weighted, {other.lane for other in waiting})
        in_lane = {other.tenant for other in waiting if other.lane == entry.lane}
        self._tenants[entry.lane].charge(entry.tenant, entry.cost, in_lane)

    def _remove(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            del self._waiting[entry.entry_id]


def _size(group: list[Entry]) -> float:
    return sum(entry.size for entry in group)
