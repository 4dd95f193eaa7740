"""Both sides of the result store, and ways around what is tested: into Redis, past the sweeps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import redis
from arno.results.gateway_store import GatewayStore
from arno.results.settings import ResultSettings
from arno.results.waiting import Waiters
from arno.results.worker_store import WorkerStore
from support.builders import result_store
from support.redis_server import RedisServer
from support.stored_jobs import StoreFactory


@pytest.fixture
def result_settings(redis_server: RedisServer, unique_prefix: str) -> ResultSettings:
    return result_store(redis_server, unique_prefix, result_time_to_live_s=600)


@pytest.fixture
async def new_store(result_settings: ResultSettings) -> AsyncIterator[StoreFactory]:
    """Start the store of one more gateway."""
    stores: list[GatewayStore] = []

    async def build(gateway: str, settings: ResultSettings = result_settings) -> GatewayStore:
        store = GatewayStore(settings, gateway=gateway)
        stores.append(store)
        await store.start()
        return store

    yield build
    for store in stores:
        await store.close()


@pytest.fixture
def worker(result_settings: ResultSettings) -> Iterator[WorkerStore]:
    worker = WorkerStore(result_settings)
    yield worker
    worker.close()


@pytest.fixture
def raw(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """The server, without the store."""
    client = redis.Redis.from_url(redis_server.url)
    yield client
    client.close()


@pytest.fixture
def fill(raw: redis.Redis) -> Iterator[Callable[[], None]]:
    """Return what makes the server refuse everything that may need memory, until the test ends."""
    yield lambda: raw.config_set("maxmemory", 1)
    raw.config_set("maxmemory", 0)


@pytest.fixture
def no_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the stream of wake-ups alone to wake waiters: a sweep finds none that is stale."""
    monkeypatch.setattr(Waiters, "stale_waiters", lambda waiters, read_before_s: {})
