"""Let the work of one tenant take a part of a resource's time while other tenants are active.

Work is owed for when it is done, and time pays it back at the tenant's share. A tenant may owe
what its share pays back in a moment (the burst); above it the tenant rests. One that is alone never
rests, and owes no more than its burst when another comes. Nothing here is thread-safe.
"""

from __future__ import annotations

from typing import Final

ACTIVE_S: Final = 5.0
"""A tenant that asked for something so lately counts as active."""

_REMEMBERED_MAX: Final = 1024


class RecentTenants:
    """Which tenants were active lately."""

    def __init__(self) -> None:
        """Know none."""
        self._seen_s: dict[str, float] = {}

    def note(self, tenant: str, now_s: float) -> None:
        """Note that a tenant asks for something, at a monotonic time."""
        # The latest is last, so that those to forget are first.
        self._seen_s.pop(tenant, None)
        self._seen_s[tenant] = now_s
        while self._seen_s[oldest := next(iter(self._seen_s))] < now_s - ACTIVE_S:
            del self._seen_s[oldest]

    def others(self, tenant: str, now_s: float) -> bool:
        """Return whether another tenant than this one is active."""
        latest = next((one for one in reversed(self._seen_s) if one != tenant), None)
        return latest is not None and self._seen_s[latest] >= now_s - ACTIVE_S


class Debts:
    """What each tenant owes for work that was done, in seconds."""

    def __init__(self, share: float, *, burst_s: float, recent: RecentTenants) -> None:
        """Start without debts.

        Args:
            share: Part of the time that the work of one tenant may take while others are active.
            burst_s: A tenant may spend its share of so long at once.
            recent: Knows who is active.
        """
        self._share = share
        self._burst_s = burst_s
        self._recent = recent
        self._owed: dict[str, tuple[float, float]] = {}

    def charge(self, tenant: str, seconds: float, now_s: float) -> None:
        """Charge a tenant for work that it had done."""
        owed_s = self._owed_s(tenant, now_s) + seconds
        if not self._recent.others(tenant, now_s):
            owed_s = min(owed_s, self._share * self._burst_s)
        self._owed[tenant] = owed_s, now_s
        if len(self._owed) > _REMEMBERED_MAX:
            del self._owed[min(self._owed, key=lambda one: self._owed_s(one, now_s))]

    def rest_s(self, tenant: str, now_s: float) -> float:
        """Return how long a tenant has to rest before its next work, in seconds."""
        if self._share >= 1 or not self._recent.others(tenant, now_s):
            return 0.0
        return max(0.0, self._owed_s(tenant, now_s) / self._share - self._burst_s)

    def _owed_s(self, tenant: str, now_s: float) -> float:
        owed_s, at_s = self._owed.get(tenant, (0.0, now_s))
        return max(0.0, owed_s - self._share * (now_s - at_s))
