"""Bound the work in hand and ahead: jobs, bytes of images, predicted seconds; there is no queue.

The bus's producer has no budget of its own that it would report, so the gateway keeps one: above it
a caller is told to come back, at once, while everybody who was admitted is served. Lower lanes may
fill only a part of the budgets, so that they are refused first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from arno.errors import OverloadedError
from arno.vocabulary import Lane

RETRY_DELAY_S_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Ask:
    """What a call wants room for.

    Attributes:
        size_bytes: Of its image.
        lane: Its priority class.
        work_s: How long it has; None where it is not known yet.
    """

    size_bytes: int
    lane: Lane = Lane.INTERACTIVE
    work_s: float | None = None


@dataclass(frozen=True, slots=True)
class Budgets:
    """How much may be in hand and ahead.

    Attributes:
        jobs_max: Jobs in flight.
        bytes_max: Bytes of their images.
        shares: The part of both that each lane may fill, counting what other lanes hold of it.
        wait_s_max: The longest predicted wait with which a lane still takes jobs.
    """

    jobs_max: int
    bytes_max: int
    shares: Mapping[Lane, float] = field(default_factory=dict)
    wait_s_max: Mapping[Lane, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AdmissionStatistics:
    """The work in hand at one moment.

    Attributes:
        jobs_in_flight: Jobs admitted and not left.
        bytes_in_flight: Bytes of their images, and of frames that wait to be admitted.
        admitted_count: Since the start.
        refused_counts: Since the start, by lane and by the budget that was spent.
    """

    jobs_in_flight: int
    bytes_in_flight: int
    admitted_count: int
    refused_counts: Mapping[tuple[Lane, str], int]


class Admission:
    """The budgets of one gateway. Lives in one asyncio loop; never waits."""

    def __init__(
        self,
        budgets: Budgets,
        *,
        retry_delay_s: float,
        predicted_wait_s: Callable[[Lane], float | None] = lambda lane: None,
    ) -> None:
        """Start with nothing in hand.

        Args:
            budgets: What may be taken.
            retry_delay_s: What refused callers are told to wait at least.
            predicted_wait_s: How long a new job of a lane will wait for workers; None: unknown.
        """
        self._budgets = budgets
        self._retry_delay_s = retry_delay_s
        self._predicted_wait_s = predicted_wait_s
        self._jobs = 0
        self._bytes = 0
        self._admitted_count = 0
        self._refused_counts: dict[tuple[Lane, str], int] = {}

    @contextmanager
    def admit(self, ask: Ask) -> Iterator[None]:
        """Hold a place for one job for as long as the block runs.

        Raises:
            OverloadedError: A budget is spent. Retryable.
        """
        self._check_jobs(ask)
        self._check_bytes(ask)
        self._check_wait(ask)
        self._jobs += 1
        self._bytes += ask.size_bytes
        self._admitted_count += 1
        try:
            yield
        finally:
            self._jobs -= 1
            self._bytes -= ask.size_bytes

    def keep(self, ask: Ask) -> Callable[[], None]:
        """Count the bytes of an image that waits to be admitted.

        Returns:
            What takes them off again; to be called once.

        Raises:
            OverloadedError: The budget of bytes is spent. Retryable.
        """
        self._check_bytes(ask)
        self._bytes += ask.size_bytes

        def give_back() -> None:
            self._bytes -= ask.size_bytes

        return give_back

    def statistics(self) -> AdmissionStatistics:
        """Return the numbers of this moment."""
        return AdmissionStatistics(
            jobs_in_flight=self._jobs,
            bytes_in_flight=self._bytes,
            admitted_count=self._admitted_count,
            refused_counts=dict(self._refused_counts),
        )

    def _check_jobs(self, ask: Ask) -> None:
        share = self._budgets.shares.get(ask.lane, 1.0)
        jobs_max = max(1, int(share * self._budgets.jobs_max))
        if self._jobs >= jobs_max:
            raise self._refusal(ask.lane, "jobs in flight", jobs_max, self._jobs + 1)

    def _check_bytes(self, ask: Ask) -> None:
        share = self._budgets.shares.get(ask.lane, 1.0)
        bytes_max, wanted = int(share * self._budgets.bytes_max), self._bytes + ask.size_bytes
        # One image must always fit, or a budget below the image limit would refuse it for ever.
        if self._bytes and wanted > bytes_max:
            raise self._refusal(ask.lane, "image bytes in flight", bytes_max, wanted)

    def _check_wait(self, ask: Ask) -> None:
        wait_s = self._predicted_wait_s(ask.lane)
        if wait_s is None:
            return
        limit_s = self._budgets.wait_s_max.get(ask.lane, wait_s)
        if ask.work_s is not None:
            limit_s = min(limit_s, ask.work_s)
        if wait_s > limit_s:
            raise self._refusal(
                ask.lane,
                "predicted seconds of waiting",
                round(limit_s, 1),
                round(wait_s, 1),
                delay_s=min(wait_s - limit_s, RETRY_DELAY_S_MAX),
            )

    def _refusal(
        self, lane: Lane, budget: str, limit: float, wanted: float, *, delay_s: float = 0.0
    ) -> OverloadedError:
        counted = lane, budget
        self._refused_counts[counted] = self._refused_counts.get(counted, 0) + 1
        return OverloadedError(
            f"the gateway is full for the lane {lane}: {budget} would be {wanted:g}; "
            f"allowed: {limit:g}",
            retry_delay_s=max(self._retry_delay_s, delay_s),
            lane=lane,
            budget=budget,
            limit=f"{limit:g}",
            wanted=f"{wanted:g}",
        )
