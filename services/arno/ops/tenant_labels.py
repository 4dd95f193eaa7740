"""Tenants as labels of metrics: as many as a setting says, and one for all others.

Stands alone: gateways and workers use it, and neither imports the other.
"""

from __future__ import annotations

from typing import Final

OTHER_TENANTS: Final = "(others)"
"""No name of a tenant has brackets."""


class TenantLabels:
    """Gives each of the first tenants a label of its own. Any thread."""

    def __init__(self, *, count_max: int) -> None:
        """Take the most labels beside the one for others."""
        self._count_max = count_max
        self._known: set[str] = set()

    def label(self, tenant: str) -> str:
        """Return the label of a tenant."""
        if tenant in self._known:
            return tenant
        if len(self._known) >= self._count_max:
            return OTHER_TENANTS
        # Two threads at once may add one too many; the bound is there to bound memory.
        self._known.add(tenant)
        return tenant
