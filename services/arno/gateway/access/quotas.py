"""The quotas of tenants: calls and frames per second, jobs and bytes in flight, open calls.

Each gateway counts by itself and grants a part of each quota (`quota_share`). Nothing waits: a
caller above its quota is refused at once, with a retry delay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal, NoReturn

from arno.errors import QuotaExceededError
from arno.gateway.access.key_file import TenantLimits
from arno.ops.clock import SYSTEM_CLOCK, Clock

OpenQuota = Literal["calls_open", "streams_open"]

_NO_LIMITS: Final = TenantLimits()

_BURST_S: Final = 1.0
"""A tenant that was quiet may spend this much of its rate at once."""

_ONE_TOKEN: Final = 1 - 1e-6
"""Less than one by the error of float sums: a caller that waits for its retry delay gets in."""


@dataclass(slots=True)
class _Account:
    """What one tenant uses.

    Attributes:
        jobs: Jobs in flight.
        size_bytes: Size of their images.
        open_counts: Open calls, streams included; and open streams of frames.
        tokens: Requests that may start now.
        filled_s: Time of the last refill of the tokens.
    """

    jobs: int = 0
    size_bytes: int = 0
    open_counts: Counter[OpenQuota] = field(default_factory=Counter)
    tokens: float = 0.0
    filled_s: float = float("-inf")


class TenantQuotas:
    """Counts what tenants use. Lives in one asyncio loop."""

    def __init__(
        self,
        limits: Callable[[str], TenantLimits],
        *,
        share: float = 1.0,
        retry_delay_s: float = 1.0,
        defaults: TenantLimits = _NO_LIMITS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Start with nothing used.

        Args:
            limits: Returns the current quotas of a tenant; they may change at any time.
            share: The part of each quota that this gateway grants.
            retry_delay_s: Retry delay where a job or call of the tenant has to end first.
            defaults: Limits of a tenant whose own do not say, already this gateway's.
            clock: Tells the time.
        """
        self._limits = limits
        self._share = share
        self._retry_delay_s = retry_delay_s
        self._defaults = defaults
        self._clock = clock
        self._accounts: dict[str, _Account] = {}

    def grant(self, share: float) -> None:
        """Grant this part of each quota from now on; what is held already stays."""
        self._share = share

    def spend_request(self, tenant: str) -> None:
        """Count one call, or one frame of a stream.

        Raises:
            QuotaExceededError: The tenant's rate is spent. Retryable.
        """
        rate = self._limits(tenant).requests_per_s
        if rate is None:
            return
        rate *= self._share
        account, now_s = self._account(tenant), self._clock.monotonic_s()
        limit = max(1.0, rate * _BURST_S)
        account.tokens = min(limit, account.tokens + (now_s - account.filled_s) * rate)
        account.filled_s = now_s
        if account.tokens < _ONE_TOKEN:
            self._refuse(
                "requests_per_s", f"{rate:g}", "", retry_delay_s=(1 - account.tokens) / rate
            )
        account.tokens -= 1

    @contextmanager
    def hold(self, tenant: str, size_bytes: int) -> Iterator[None]:
        """Count one job with its image for as long as the block runs.

        Raises:
            QuotaExceededError: The tenant has reached a limit. Retryable.
        """
        limits, account = self._limits(tenant), self._account(tenant)
        jobs_max = self._shared(limits.jobs_in_flight, self._defaults.jobs_in_flight)
        bytes_max = self._shared(limits.bytes_in_flight, self._defaults.bytes_in_flight)
        if jobs_max is not None and account.jobs >= jobs_max:
            self._refuse("jobs_in_flight", str(jobs_max), str(account.jobs + 1))
        wanted_bytes = account.size_bytes + size_bytes
        # One image always fits, as in admission: its own limit is `image_bytes_max`.
        if bytes_max is not None and account.jobs and wanted_bytes > bytes_max:
            self._refuse("bytes_in_flight", str(bytes_max), str(wanted_bytes))
        account.jobs += 1
        account.size_bytes += size_bytes
        try:
            yield
        finally:
            account.jobs -= 1
            account.size_bytes -= size_bytes

    @contextmanager
    def hold_open(self, tenant: str, quota: OpenQuota) -> Iterator[None]:
        """Count one call, or one stream, as open for as long as the block runs.

        Raises:
            QuotaExceededError: The tenant has as many open as it may have. Retryable.
        """
        limits, open_counts = self._limits(tenant), self._account(tenant).open_counts
        limit = self._shared(getattr(limits, quota), getattr(self._defaults, quota))
        if limit is not None and open_counts[quota] >= limit:
            self._refuse(quota, str(limit), str(open_counts[quota] + 1))
        open_counts[quota] += 1
        try:
            yield
        finally:
            open_counts[quota] -= 1

    def stored_bytes_max(self, tenant: str) -> int | None:
        """Return the most bytes that a tenant may have in the result store; None: no limit.

        The store counts them, for all gateways together: no share applies.
        """
        own = self._limits(tenant).stored_bytes
        return self._defaults.stored_bytes if own is None else own

    def _account(self, tenant: str) -> _Account:
        # Tenants come from the keys file, so there are never more accounts than it ever named.
        return self._accounts.setdefault(tenant, _Account())

    def _shared(self, own: int | None, default: int | None) -> int | None:
        return default if own is None else max(1, int(own * self._share))

    def _refuse(
        self, quota: str, limit: str, wanted: str, *, retry_delay_s: float | None = None
    ) -> NoReturn:
        delay_s = self._retry_delay_s if retry_delay_s is None else retry_delay_s
        raise QuotaExceededError(quota=quota, limit=limit, wanted=wanted, retry_delay_s=delay_s)
