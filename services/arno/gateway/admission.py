"""Decide whether a call or a job may enter: limits on calls, jobs, image bytes, predicted seconds.

Nothing here queues. The bus's producer reports no budget of its own, so the gateway keeps one: a
caller above it is refused at once with a retry delay, while every admitted job is served. Lower
lanes may fill only a part of the budgets, so that they are refused first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from arno.errors import OverloadedError
from arno.gateway.access.quotas import TenantQuotas
from arno.gateway.backends import BackendMonitor
from arno.gateway.settings import GatewayLimits
from arno.ops.tracing import stage
from arno.vocabulary import Lane

if TYPE_CHECKING:
    from arno.api.v1 import vision_pb2

RETRY_DELAY_S_MAX: Final = 60.0

_JOBS: Final = "jobs in flight"
_BYTES: Final = "image bytes in flight"
_WAIT: Final = "predicted seconds of waiting"
BUDGETS: Final = (_JOBS, _BYTES, _WAIT)
"""The budgets, as error messages and metrics name them."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a job takes from the budgets.

    Attributes:
        size_bytes: Size of its image.
        lane: Its priority class.
        work_s: Time until its deadline; None where it is not known yet.
    """

    size_bytes: int
    lane: Lane = Lane.INTERACTIVE
    work_s: float | None = None


@dataclass(slots=True)
class AdmittedJob:
    """A job while its block runs.

    Attributes:
        response: What its caller will get, by which its outcome is judged; None where no call waits
            for the job.
    """

    response: vision_pb2.InferResponse | None = None


class Admission:
    """The budgets of one gateway. Lives in one asyncio loop; never waits."""

    def __init__(
        self,
        limits: GatewayLimits,
        *,
        quotas: TenantQuotas,
        backends: BackendMonitor,
        predicted_wait_s: Callable[[Lane, str], float | None] = lambda lane, tenant: None,
        on_refused: Callable[[Lane, str], None] = lambda lane, budget: None,
        counted: Callable[[Lane, str], AbstractContextManager[AdmittedJob]] = (
            lambda lane, tenant: nullcontext(AdmittedJob())
        ),
    ) -> None:
        """Start with nothing in flight.

        Args:
            limits: The budgets, and the shares of them that lower lanes may fill.
            quotas: Limits of each tenant.
            backends: Whether the bus and the store answer.
            predicted_wait_s: Returns how long a new job of a lane and a tenant will wait for
                workers; None: unknown.
            on_refused: Called with the lane and the exhausted budget (one of `BUDGETS`).
            counted: Returns what surrounds each job of a lane and a tenant, refused ones included,
                to count its outcome.
        """
        self._quotas = quotas
        self._backends = backends
        self._predicted_wait_s = predicted_wait_s
        self._on_refused = on_refused
        self._counted = counted
        self._retry_delay_s = limits.overload_retry_s
        self._jobs_max = limits.jobs_in_flight_max
        self._bytes_max = limits.bytes_in_flight_max
        self._shares = {
            Lane.INTERACTIVE: 1.0,
            Lane.STREAM: limits.stream_budget_share,
            Lane.BATCH: limits.batch_budget_share,
        }
        self._wait_s_max = {
            Lane.INTERACTIVE: limits.interactive_wait_s_max,
            Lane.STREAM: limits.stream_wait_s_max,
            Lane.BATCH: limits.batch_wait_s_max,
        }
        self._jobs = 0
        self._bytes = 0

    @property
    def jobs_in_flight(self) -> int:
        """Jobs admitted and not left. Any thread."""
        return self._jobs

    @property
    def bytes_in_flight(self) -> int:
        """Bytes of their images, and of images with reserved bytes. Any thread."""
        return self._bytes

    @contextmanager
    def admit(self, tenant: str, demand: Demand) -> Iterator[AdmittedJob]:
        """Count one job for as long as the block runs.

        The tenant's quota is checked first, so that a tenant above it costs the others nothing.

        Raises:
            QuotaExceededError: The tenant has reached its own limit. Retryable.
            OverloadedError: A budget of the gateway is exhausted. Retryable.
            BackendUnavailableError: The bus or the store does not answer. Retryable.
        """
        counted = self._counted(demand.lane, tenant)
        with counted as job, self._quotas.hold(tenant, demand.size_bytes):
            with stage("admit"):
                self._check_jobs(demand)
                self._check_bytes(demand)
                self._check_wait(tenant, demand)
            self._jobs += 1
            self._bytes += demand.size_bytes
            try:
                self._backends.require()
                yield job
            finally:
                self._jobs -= 1
                self._bytes -= demand.size_bytes

    def reserve_bytes(self, demand: Demand) -> Callable[[], None]:
        """Count the bytes of an image that waits to be admitted.

        Returns:
            A function that releases the bytes; to be called once.

        Raises:
            OverloadedError: The budget of bytes is exhausted. Retryable.
        """
        self._check_bytes(demand)
        self._bytes += demand.size_bytes

        def release() -> None:
            self._bytes -= demand.size_bytes

        return release

    def _check_jobs(self, demand: Demand) -> None:
        jobs_max = max(1, int(self._shares[demand.lane] * self._jobs_max))
        if self._jobs >= jobs_max:
            raise self._refusal(demand.lane, _JOBS, jobs_max, self._jobs + 1)

    def _check_bytes(self, demand: Demand) -> None:
        bytes_max = int(self._shares[demand.lane] * self._bytes_max)
        wanted = self._bytes + demand.size_bytes
        # One image must always fit, or a budget below the image limit would refuse it for ever.
        if self._bytes and wanted > bytes_max:
            raise self._refusal(demand.lane, _BYTES, bytes_max, wanted)

    def _check_wait(self, tenant: str, demand: Demand) -> None:
        wait_s = self._predicted_wait_s(demand.lane, tenant)
        if wait_s is None:
            return
        limit_s = self._wait_s_max[demand.lane]
        if demand.work_s is not None:
            limit_s = min(limit_s, demand.work_s)
        if wait_s > limit_s:
            delay_s = min(wait_s - limit_s, RETRY_DELAY_S_MAX)
            limit, wanted = round(limit_s, 1), round(wait_s, 1)
            raise self._refusal(demand.lane, _WAIT, limit, wanted, delay_s=delay_s)

    def _refusal(
        self, lane: Lane, budget: str, limit: float, wanted: float, *, delay_s: float = 0.0
    ) -> OverloadedError:
        self._on_refused(lane, budget)
        return OverloadedError(
            f"the gateway is full for the lane {lane}: {budget} would be {wanted:g}; "
            f"allowed: {limit:g}",
            retry_delay_s=max(self._retry_delay_s, delay_s),
            lane=lane,
            budget=budget,
            limit=f"{limit:g}",
            wanted=f"{wanted:g}",
        )


class ConcurrencyLimit:
    """A fixed number of slots; callers beyond it are refused, never queued.

    Lives in one asyncio loop.
    """

    def __init__(self, what: str, *, limit_name: str, limit: int, retry_delay_s: float) -> None:
        """Start with all slots free.

        Args:
            what: What takes the slots, in the plural, for error messages.
            limit_name: Name of the setting, for error messages.
            limit: Number of slots.
            retry_delay_s: Retry delay of a refusal.
        """
        self._what = what
        self._limit_name = limit_name
        self._limit = limit
        self._retry_delay_s = retry_delay_s
        self._used_count = 0

    @property
    def used_count(self) -> int:
        """Slots in use."""
        return self._used_count

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Use a slot for as long as the block runs.

        Raises:
            OverloadedError: No slot is free. Retryable.
        """
        wanted_count = self._used_count + 1
        if wanted_count > self._limit:
            raise OverloadedError(
                f"the gateway is full: open {self._what} would be {wanted_count}; "
                f"allowed: {self._limit} ({self._limit_name})",
                retry_delay_s=self._retry_delay_s,
                budget=self._what,
                limit=str(self._limit),
                wanted=str(wanted_count),
            )
        self._used_count = wanted_count
        try:
            yield
        finally:
            self._used_count -= 1
