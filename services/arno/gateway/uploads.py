"""Send large images to the result store: few at once, and with rests between their parts.

Redis, the disk and the gateway's own processor have work with each part. Without rests the images
of one tenant keep all of them busy for as long as it sends any.

Stands alone: it knows nothing of jobs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from arno.batching import Debts, RecentTenants
from arno.gateway.fair_slots import FairSlots
from arno.gateway.settings import GatewaySettings
from arno.ops.clock import SYSTEM_CLOCK, Clock

_BURST_S: Final = 2.0
"""A tenant may spend its share of so long without a rest: some 30 MB by default."""

_PART_S_MAX: Final = 0.05
"""What a part is charged at most: no tenant pays for a store that is away."""

_REST_S_MIN: Final = 0.002
"""Shorter rests are saved up: the event loop does not wake more precisely."""

AfterPart = Callable[[float], Awaitable[None]]
"""Called after each part with the seconds that it took; returns when the next may be sent."""


class Uploads:
    """Places for images on their way to the store. Lives in one asyncio loop."""

    def __init__(
        self, settings: GatewaySettings, recent: RecentTenants, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """Take the limits, and what knows which tenants are active."""
        self._slots = FairSlots(settings.store_uploads_max, tenant_share=settings.tenant_open_share)
        self._debts = Debts(settings.tenant_upload_share, burst_s=_BURST_S, recent=recent)
        self._clock = clock

    @asynccontextmanager
    async def hold(self, tenant: str) -> AsyncIterator[AfterPart]:
        """Use a place for as long as the block runs, which calls what it gets after each part."""
        async with self._slots.hold(tenant):
            yield partial(self._after_part, tenant)

    async def _after_part(self, tenant: str, took_s: float) -> None:
        self._debts.charge(tenant, min(took_s, _PART_S_MAX), self._clock.monotonic_s())
        rest_s = self._debts.rest_s(tenant, self._clock.monotonic_s())
        if rest_s >= _REST_S_MIN:
            await asyncio.sleep(rest_s)
