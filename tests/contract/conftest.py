"""Ways around what is tested: into Redis itself, and past the sweeps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from arno.results.redis.wake_ups import WakeUpLoop
from support.redis_server import RedisServer


@pytest.fixture
def raw(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """The server, without the store."""
    client = redis.Redis.from_url(redis_server.url)
    yield client
    client.close()


@pytest.fixture
def no_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the stream of wake-ups alone to wake anybody."""

    async def nothing(_: WakeUpLoop) -> None:
        return

    monkeypatch.setattr(WakeUpLoop, "_sweep", nothing)
