"""What may not go on the bus, whichever bus it is."""

from __future__ import annotations

from arno.bus.ports import Record
from arno.errors import LimitExceededError, OverloadedError

HEADER_BYTES_MAX = 16 * 1024
"""Room for headers beside the value: a trace context is about 200 bytes."""


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
