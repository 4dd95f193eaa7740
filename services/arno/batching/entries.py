"""What the scheduler knows of a waiting sequence."""

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One sequence that waits.

    Attributes:
        entry_id: Unique among those that wait.
        lane: Its priority class.
        tenant: Whose work it is.
        arrived_s: When it was admitted.
        deadline_s: When it is no longer worth starting; None: never.
        group_key: Only entries with equal keys may share a batch.
        cost: Predicted work, more than 0: what its lane and its tenant are charged.
        size: What it takes of a group's budget while it runs, in whatever unit that has.
    """

    entry_id: str
    lane: str
    tenant: str
    arrived_s: float
    deadline_s: float | None
    group_key: Hashable
    cost: float
    size: float = 0.0

    def expired(self, now_s: float) -> bool:
        """Return whether its deadline has come."""
        return self.deadline_s is not None and self.deadline_s <= now_s
