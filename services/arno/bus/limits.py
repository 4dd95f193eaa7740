"""The bounds of every bus: the size of a record, the bytes and the deliveries in flight."""

from __future__ import annotations

from typing import Final

from arno.bus.ports import Record
from arno.errors import LimitExceededError, OverloadedError

HEADER_BYTES_MAX: Final = 16 * 1024
"""Bytes of headers beside the value: a trace context is about 200."""

_AT_ONCE_SHARE: Final = 8
"""Of the window, one in so many slots is free before any is filled."""

_RESERVING_LIMIT: Final = 16
"""The smallest window of which a part is reserved; in a smaller one that costs too much."""


def record_size(record: Record, record_bytes_max: int) -> int:
    """Return the bytes of value and headers.

    Raises:
        LimitExceededError: Either is larger than the bus takes.
    """
    if len(record.value) > record_bytes_max:
        raise LimitExceededError(
            field="record",
            problem="larger than the bus takes",
            limit=f"{record_bytes_max} bytes",
            sent=f"{len(record.value)} bytes",
        )
    header_bytes = sum(len(name) + len(value) for name, value in record.headers.items())
    if header_bytes > HEADER_BYTES_MAX:
        raise LimitExceededError(
            field="record.headers",
            problem="larger than the bus takes",
            limit=f"{HEADER_BYTES_MAX} bytes",
            sent=f"{header_bytes} bytes",
        )
    return len(record.value) + header_bytes


class ByteBudget:
    """A bound on the bytes that wait for the bus. Belongs to one thread."""

    __slots__ = ("_limit", "taken")

    def __init__(self, limit: int) -> None:
        """Take the bound, in bytes."""
        self._limit = limit
        self.taken = 0

    def take(self, size_bytes: int) -> None:
        """Reserve bytes.

        Raises:
            OverloadedError: They do not fit.
        """
        if self.taken + size_bytes > self._limit:
            raise OverloadedError(
                f"bus: {self.taken} of {self._limit} bytes already wait to be acknowledged",
                limit_bytes=str(self._limit),
            )
        self.taken += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Release what ``take`` reserved."""
        self.taken -= size_bytes


class Window:
    """A bound on unfinished deliveries: full at the limit, open again at half of it.

    The distance keeps a consumer from pausing and resuming with every record. Its only input is the
    number of unfinished deliveries, read again in every poll, so no missed event can leave a
    consumer paused.
    """

    __slots__ = ("limit", "paused")

    def __init__(self, limit: int) -> None:
        """Take the number of deliveries that may be unfinished; with 0 it stays full."""
        self.limit = limit
        self.paused = False

    def update(self, unfinished_count: int) -> bool:
        """Decide from the present count whether to pause, and return the decision."""
        if unfinished_count >= self.limit:
            self.paused = True
        elif unfinished_count <= self.limit // 2:
            self.paused = False
        return self.paused

    def free_slots(self, unfinished_count: int) -> int:
        """Return how many more deliveries fit; 0 while paused."""
        return 0 if self.update(unfinished_count) else self.limit - unfinished_count

    def share(self, partition_count: int) -> int:
        """Return how many unfinished deliveries each of the partitions may have, at least 1."""
        return -(-self.limit // max(1, partition_count))

    def unreserved(self, unfinished_count: int) -> int:
        """Return how many more deliveries fit from partitions that have unfinished ones.

        A quarter of the window is reserved for partitions without any. A few at once or none: a
        poll for one record costs as much as a poll for many.
        """
        free = self._unreserved_limit() - unfinished_count
        return free if free >= self._at_once() else 0

    def opens_at(self) -> int:
        """Return at how many unfinished deliveries a full window takes more."""
        return self.limit // 2 if self.paused else self._unreserved_limit() - self._at_once()

    def crowded(self, unfinished_count: int) -> bool:
        """Return whether more than a quarter of the window is taken.

        Then partitions without unfinished deliveries should come first.
        """
        return unfinished_count > self.limit // 4

    def _unreserved_limit(self) -> int:
        return self.limit - (self.limit // 4 if self.limit >= _RESERVING_LIMIT else 0)

    def _at_once(self) -> int:
        return max(1, self.limit // _AT_ONCE_SHARE)
