"""A Redis without memory: what it refuses, what goes on, and what is said about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import redis
from arno.errors import BackendFullError, UnknownJobError
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState
from support.builders import new_job
from support.stored_jobs import WAIT_S, StoreFactory, outcome

pytestmark = pytest.mark.redis


@pytest.mark.parametrize("key", ["", "a-key"], ids=["without a key", "with a key"])
@pytest.mark.parametrize("verb", ["delete", "release", "abandon"])
async def test_jobs_can_be_removed_from_a_full_store(
    new_store: StoreFactory,
    raw: redis.Redis,
    unique_prefix: str,
    fill: Callable[[], None],
    verb: str,
    key: str,
) -> None:
    store, record = await new_store("g1"), new_job()
    await store.claim(record, idempotency_key=key, waited_for=True)
    watch = store.watch(record.id)
    await anext(watch)
    fill()
    await getattr(store, verb)(record.id)
    assert await store.get(record.id) is None
    assert not list(raw.scan_iter(f"{unique_prefix}:idempotency:*"))
    async with asyncio.timeout(WAIT_S):
        with pytest.raises(UnknownJobError):
            await anext(watch)


async def test_job_in_hand_ends_in_a_full_store(
    new_store: StoreFactory, worker: WorkerStore, fill: Callable[[], None]
) -> None:
    store, record = await new_store("g1"), new_job()
    await store.claim(record)
    attempt = await asyncio.to_thread(worker.begin, record)
    waiting = asyncio.create_task(store.wait(record.id, timeout_s=WAIT_S))
    await asyncio.sleep(0)
    fill()
    assert await asyncio.to_thread(worker.finish, attempt, outcome())
    assert (await waiting).state is JobState.SUCCEEDED


async def test_full_store_says_so_and_is_well_again_when_it_has_room(
    new_store: StoreFactory, raw: redis.Redis, fill: Callable[[], None]
) -> None:
    store = await new_store("g1")
    await store.ping()
    fill()
    with pytest.raises(BackendFullError, match="the result store is full"):
        await store.ping()
    with pytest.raises(BackendFullError, match="the result store is full: it could not claim"):
        await store.claim(new_job())
    with pytest.raises(BackendFullError):
        await store.blobs.put(b"image", time_to_live_s=60)
    raw.config_set("maxmemory", 0)
    await store.ping()
    await store.claim(new_job())
