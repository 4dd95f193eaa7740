"""Bound the work in hand: so many jobs, so many bytes of images, and no waiting line.

The bus's producer has no budget of its own that it would report, so the gateway keeps one: above it
a caller is told to come back, at once, while everybody who was admitted is served.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from arno.errors import OverloadedError


@dataclass(frozen=True, slots=True)
class AdmissionStatistics:
    """The work in hand at one moment.

    Attributes:
        jobs_in_flight: Jobs admitted and not left.
        bytes_in_flight: Bytes of their images.
        admitted_count: Since the start.
        refused_count: Since the start.
    """

    jobs_in_flight: int
    bytes_in_flight: int
    admitted_count: int
    refused_count: int


class Admission:
    """A budget of jobs and bytes. Lives in one asyncio loop; never waits."""

    def __init__(self, *, jobs_max: int, bytes_max: int, retry_delay_s: float) -> None:
        """Start with nothing in hand."""
        self._jobs_max = jobs_max
        self._bytes_max = bytes_max
        self._retry_delay_s = retry_delay_s
        self._jobs = 0
        self._bytes = 0
        self._admitted_count = 0
        self._refused_count = 0

    @contextmanager
    def admit(self, size_bytes: int) -> Iterator[None]:
        """Hold a place for one job for as long as the block runs.

        Raises:
            OverloadedError: The budget is spent. Retryable.
        """
        if self._jobs >= self._jobs_max:
            raise self._refusal("jobs in flight", self._jobs_max, self._jobs + 1)
        # One image must always fit, or a budget below the image limit would refuse it for ever.
        if self._jobs and self._bytes + size_bytes > self._bytes_max:
            raise self._refusal("image bytes in flight", self._bytes_max, self._bytes + size_bytes)
        self._jobs += 1
        self._bytes += size_bytes
        self._admitted_count += 1
        try:
            yield
        finally:
            self._jobs -= 1
            self._bytes -= size_bytes

    def statistics(self) -> AdmissionStatistics:
        """Return the numbers of this moment."""
        return AdmissionStatistics(
            jobs_in_flight=self._jobs,
            bytes_in_flight=self._bytes,
            admitted_count=self._admitted_count,
            refused_count=self._refused_count,
        )

    def _refusal(self, what: str, limit: int, wanted: int) -> OverloadedError:
        self._refused_count += 1
        return OverloadedError(
            f"the gateway is full: {what} would be {wanted}; allowed: {limit}",
            retry_delay_s=self._retry_delay_s,
            budget=what,
            limit=str(limit),
            wanted=str(wanted),
        )
