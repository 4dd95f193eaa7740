"""Share one worker between lanes by weight, and a lane between its tenants equally.

Shares are of predicted cost, not of requests: a tenant with long answers gets fewer of them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

DEFAULT_WEIGHTS: Final[Mapping[str, float]] = MappingProxyType(
    {"interactive": 16.0, "stream": 8.0, "batch": 1.0}
)
"""While every lane has work, interactive requests get 16 parts in 25."""

REMEMBERED_MAX: Final = 1024
"""Limit on remembered debts; each is that of a tenant with recent work."""


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """How lanes share.

    Attributes:
        weights: Share of each lane while all lanes have work. Unknown lanes have weight 1.
        ageing_per_s: Credit, in cost, that a lane gets for every second that its oldest sequence
            has waited. It makes light lanes late rather than stalled; 0 leaves the weights alone.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: DEFAULT_WEIGHTS)
    ageing_per_s: float = 1.0

    def weight(self, lane: str) -> float:
        """Return the weight of a lane."""
        return self.weights.get(lane, 1.0)


class FairShares:
    """The cost charged to each name; the next turn goes to the name with the least.

    A name that was idle starts level with the others: it neither hoards credit nor loses the debt
    that it left with. Names without debt are forgotten, and beyond `REMEMBERED_MAX` names the
    smallest debts are, so the table stays small.

    Source: start-time fair queueing, Goyal, Vin and Cheng, SIGCOMM 1996.
    """

    def __init__(self) -> None:
        """Start without debts."""
        self._spent: dict[str, float] = {}
        self._floor = 0.0

    def __len__(self) -> int:
        """Return how many debts are remembered."""
        return len(self._spent)

    def spent(self, name: str) -> float:
        """Return the cost charged to a name, on a scale on which only differences mean anything."""
        return max(self._spent.get(name, 0.0), self._floor)

    def charge(self, name: str, cost: float, waiting: Collection[str]) -> None:
        """Charge a name for its turn.

        Args:
            name: The name whose turn it is; one of those that wait.
            cost: Predicted cost of the turn.
            waiting: All names that wait for a turn.
        """
        self._floor = min(self.spent(other) for other in waiting)
        self._spent[name] = self.spent(name) + cost
        self._spent = {key: spent for key, spent in self._spent.items() if spent > self._floor}
        if len(self._spent) > REMEMBERED_MAX:
            del self._spent[min(self._spent, key=self.spent)]

    def correct(self, name: str, difference: float) -> None:
        """Add what a turn cost above its prediction, or take off what it cost less."""
        self._spent[name] = self.spent(name) + difference
