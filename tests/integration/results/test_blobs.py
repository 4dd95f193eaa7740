"""Large images in the result store: how long they live, and what they cost."""

from __future__ import annotations

import asyncio

import pytest
import redis
from arno.results.worker_store import WorkerStore
from support.stored_jobs import StoreFactory

pytestmark = pytest.mark.redis


async def test_blob_lives_as_long_as_its_longest_wish_and_is_checked(
    new_store: StoreFactory, worker: WorkerStore, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    name = await store.blobs.put(b"image", time_to_live_s=60)
    key = f"{unique_prefix}:blob:{name}"
    await store.blobs.put(b"image", time_to_live_s=600)
    await store.blobs.put(b"image", time_to_live_s=60)
    assert 60_000 < raw.pttl(key) <= 600_000
    raw.set(key, b"imagf", keepttl=True)
    assert worker.get_blob(name) is None


async def test_of_two_writers_of_a_blob_the_one_with_the_longer_wish_wins(
    new_store: StoreFactory, raw: redis.Redis, unique_prefix: str
) -> None:
    stores = await new_store("g1"), await new_store("g2")
    names = []
    for number in range(40):
        content = b"%d" % number * 10_000
        lives_s = (600, 60) if number % 2 else (60, 600)
        puts = (
            store.blobs.put(content, time_to_live_s=life_s)
            for store, life_s in zip(stores, lives_s, strict=True)
        )
        names.append((await asyncio.gather(*puts))[0])
    assert min(raw.pttl(f"{unique_prefix}:blob:{name}") for name in names) > 60_000


async def test_blob_that_is_stored_is_not_sent_again(
    new_store: StoreFactory, raw: redis.Redis
) -> None:
    store, content = await new_store("g1"), b"image" * 1_000_000
    await store.blobs.put(content, time_to_live_s=60)
    before = raw.info("stats")["total_net_input_bytes"]
    await store.blobs.put(content, time_to_live_s=600)
    assert raw.info("stats")["total_net_input_bytes"] - before < len(content) / 10


async def test_blob_takes_the_place_of_a_foreign_value(
    new_store: StoreFactory, worker: WorkerStore, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    name = await store.blobs.put(b"image", time_to_live_s=60)
    raw.delete(f"{unique_prefix}:blob:{name}")
    raw.rpush(f"{unique_prefix}:blob:{name}", "foreign")
    await store.blobs.put(b"image", time_to_live_s=60)
    assert worker.get_blob(name) == b"image"
