"""Share one worker between lanes by weight, and a lane between tenants equally.

Shares are of predicted cost, not of entries: a tenant with long answers gets fewer of them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

DEFAULT_WEIGHTS: Final[Mapping[str, float]] = MappingProxyType(
    {"interactive": 16.0, "stream": 8.0, "batch": 1.0}
)
"""With every lane full, sixteen parts in twenty-five for those who wait at a screen."""

REMEMBERED_MAX: Final = 1024
"""Names in debt that are remembered; each is a tenant with work in the last moments."""


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """How lanes share.

    Attributes:
        weights: Share of each lane while all of them have work. Unknown lanes have weight 1.
        ageing_per_s: Credit, in cost, that a lane gets for every second that its oldest entry has
            waited. It favours whoever has waited longest, so that light lanes are late rather than
            stalled; 0 leaves the weights alone.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: DEFAULT_WEIGHTS)
    ageing_per_s: float = 1.0

    def weight(self, lane: str) -> float:
        """Return the weight of a lane."""
        return self.weights.get(lane, 1.0)


class FairShares:
    """Remembers what each name was given, so that the next turn goes to who was given least.

    Whoever was idle starts level with those who were not: it neither hoards credit while away nor
    loses the debt that it left with. Names without debt are forgotten and, of very many, those that
    owe least; so the table stays small.

    Source: start-time fair queueing, Goyal, Vin and Cheng, SIGCOMM 1996.
    """

    def __init__(self) -> None:
        """Start with nobody in debt."""
        self._spent: dict[str, float] = {}
        self._floor = 0.0

    def spent(self, name: str) -> float:
        """Return what a name was given, on a scale on which only differences mean anything."""
        return max(self._spent.get(name, 0.0), self._floor)

    def charge(self, name: str, cost: float, waiting: Collection[str]) -> None:
        """Note that a name is given its turn, among all those that wait for one."""
        self._floor = min(self.spent(other) for other in waiting)
        self._spent[name] = self.spent(name) + cost
        self._spent = {key: spent for key, spent in self._spent.items() if spent > self._floor}
        if len(self._spent) > REMEMBERED_MAX:
            del self._spent[min(self._spent, key=self.spent)]
