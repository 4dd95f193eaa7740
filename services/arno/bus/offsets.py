"""Which offset of a partition may be committed while its records finish in any order.

The rule is short: commit the lowest unfinished offset, or one past the highest received when all
are finished. Everything below a committed offset has then been finished, so nothing is lost when
the worker dies; what was finished above it is done again. Only offsets that were received count,
so gaps in the log (compaction, transaction markers) need no special case.

This module is pure: no clock, no lock, no Kafka.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

PartitionT = TypeVar("PartitionT", bound=Hashable)


class OffsetTracker:
    """The received offsets of one assignment of one partition, and which of them are unfinished."""

    __slots__ = ("_heap", "_next", "_unfinished", "committed", "epoch")

    def __init__(self, epoch: int) -> None:
        """Begin an assignment; its epoch distinguishes its receipts from those of earlier ones."""
        self.epoch = epoch
        self.committed: int | None = None
        self._unfinished: set[int] = set()
        # May hold finished offsets, which are dropped when they come to its top.
        self._heap: list[int] = []
        self._next: int | None = None

    @property
    def unfinished_count(self) -> int:
        """How many offsets were received and not finished."""
        return len(self._unfinished)

    def receive(self, offset: int) -> bool:
        """Note an offset as unfinished; say whether it is new, that is, not unfinished already.

        The first offset sets the beginning, whatever was committed: retention may have removed
        records in between.
        """
        if offset in self._unfinished:
            return False
        self._unfinished.add(offset)
        heapq.heappush(self._heap, offset)
        self._next = offset + 1 if self._next is None else max(self._next, offset + 1)
        return True

    def finish(self, offset: int) -> bool:
        """Note an offset as finished; say whether it was unfinished."""
        if offset not in self._unfinished:
            return False
        self._unfinished.remove(offset)
        return True

    def position(self) -> int | None:
        """Return the offset to commit: the next one to read after a restart. None before any."""
        while self._heap and self._heap[0] not in self._unfinished:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else self._next


@dataclass(frozen=True, slots=True)
class CommitPoint:
    """A position that is to be committed, and the assignment that it belongs to.

    Attributes:
        position: The next offset to read after a restart.
        epoch: The assignment; the acknowledgement of an earlier one is ignored.
    """

    position: int
    epoch: int


class OffsetLedger(Generic[PartitionT]):
    """The trackers of all partitions that are assigned to this member now.

    A partition that leaves takes its tracker with it, and comes back with a new epoch: a completion
    that arrives late never touches the state of a later assignment.
    """

    def __init__(self) -> None:
        """Begin with nothing assigned."""
        self._trackers: dict[PartitionT, OffsetTracker] = {}
        self._epoch = 0

    @property
    def partitions(self) -> Collection[PartitionT]:
        """The partitions that are assigned."""
        return self._trackers.keys()

    def assign(self, partitions: Collection[PartitionT]) -> None:
        """Begin new assignments; what was known of these partitions is forgotten."""
        self._epoch += 1
        for partition in partitions:
            self._trackers[partition] = OffsetTracker(self._epoch)

    def revoke(self, partitions: Collection[PartitionT]) -> None:
        """End assignments; their unfinished offsets now belong to another member."""
        for partition in partitions:
            self._trackers.pop(partition, None)

    def receive(self, partition: PartitionT, offset: int) -> int | None:
        """Note an offset; return the epoch for its receipt.

        None means: do not deliver. It is unfinished already, or its partition has left.
        """
        tracker = self._trackers.get(partition)
        if tracker is None or not tracker.receive(offset):
            return None
        return tracker.epoch

    def finish(self, partition: PartitionT, offset: int, epoch: int) -> bool:
        """Note an offset as finished; False when the receipt is stale."""
        return self.holds(partition, epoch) and self._trackers[partition].finish(offset)

    def holds(self, partition: PartitionT, epoch: int) -> bool:
        """Return whether an assignment has not ended."""
        tracker = self._trackers.get(partition)
        return tracker is not None and tracker.epoch == epoch

    def unfinished_count(self, partitions: Collection[PartitionT] | None = None) -> int:
        """Return how many offsets are unfinished, in all partitions or in the given ones."""
        return sum(
            tracker.unfinished_count
            for partition, tracker in self._trackers.items()
            if partitions is None or partition in partitions
        )

    def due(
        self, partitions: Collection[PartitionT] | None = None
    ) -> dict[PartitionT, CommitPoint]:
        """Return the positions that differ from what was committed.

        Values are compared; there is no mark that says "changed", because a completion during a
        commit would be lost with it.
        """
        points: dict[PartitionT, CommitPoint] = {}
        for partition, tracker in self._trackers.items():
            if partitions is not None and partition not in partitions:
                continue
            position = tracker.position()
            if position is not None and position != tracker.committed:
                points[partition] = CommitPoint(position, tracker.epoch)
        return points

    def committed(self, points: Mapping[PartitionT, CommitPoint]) -> None:
        """Note positions as committed; those of earlier assignments are ignored."""
        for partition, point in points.items():
            tracker = self._trackers.get(partition)
            if tracker is not None and tracker.epoch == point.epoch:
                tracker.committed = point.position

    def position(self, partition: PartitionT) -> int | None:
        """Return the partition's position, or None while nothing was received."""
        tracker = self._trackers.get(partition)
        return None if tracker is None else tracker.position()
