"""The large images of one tenant rest on their way to the store while other tenants call."""

from __future__ import annotations

import asyncio

import pytest
from arno.batching import RecentTenants
from arno.gateway.settings import GatewaySettings
from arno.gateway.uploads import Uploads
from support.clock import ManualClock

SHARE, PART_S = 0.25, 0.01


class Store:
    """A store in which every part takes the same time, on a clock that only moves by that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = ManualClock()
        self.recent = RecentTenants()
        self.uploads = Uploads(
            GatewaySettings(tenant_upload_share=SHARE), self.recent, clock=self.clock
        )
        self.rested_s = 0.0

        async def rest(seconds: float) -> None:
            self.clock.advance(seconds)
            self.rested_s += seconds

        monkeypatch.setattr(asyncio, "sleep", rest)

    async def send(self, tenant: str, parts: int, *, part_s: float = PART_S) -> float:
        """Send an image, and return how long its rests were."""
        before_s = self.rested_s
        self.recent.note(tenant, self.clock.monotonic_s())
        async with self.uploads.hold(tenant) as after_part:
            for _ in range(parts):
                self.clock.advance(part_s)
                await after_part(part_s)
        return self.rested_s - before_s


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    return Store(monkeypatch)


async def test_tenant_that_is_alone_never_rests(store: Store) -> None:
    assert await store.send("flood", 1000) == 0


async def test_few_images_pass_without_a_rest_and_many_take_their_share_of_the_time(
    store: Store,
) -> None:
    store.recent.note("people", store.clock.monotonic_s())
    assert await store.send("flood", 50) == 0
    await store.send("flood", 50)
    store.recent.note("people", store.clock.monotonic_s())
    # Of the time, what was worked for is a quarter.
    assert await store.send("flood", 100) == pytest.approx(100 * PART_S * 3, rel=0.02)
    store.recent.note("people", store.clock.monotonic_s())
    assert await store.send("people", 50) == 0


async def test_no_tenant_pays_for_a_store_that_is_away(store: Store) -> None:
    store.recent.note("people", store.clock.monotonic_s())
    await store.send("flood", 100)
    store.recent.note("people", store.clock.monotonic_s())
    # Its own time pays for most of a part that took so long.
    assert await store.send("flood", 1, part_s=3.0) == 0
