"""Large images in the result store: how long they live, and what they cost."""

from __future__ import annotations

import asyncio
import itertools
import math
import os
from typing import Any

import pytest
import redis
from arno.errors import BackendUnavailableError
from arno.results.blobs import PART_BYTES, BlobWriter
from arno.results.worker_store import WorkerStore
from redis.exceptions import NoPermissionError
from support.eventually import eventually_async
from support.stored_jobs import StoreFactory

pytestmark = pytest.mark.redis

MIB = 1024 * 1024
LARGE = os.urandom(2 * PART_BYTES + 12_345)


def parts_sent(raw: redis.Redis) -> int:
    return int(raw.info("commandstats").get("cmdstat_setrange", {"calls": 0})["calls"])


def uploads(raw: redis.Redis, prefix: str) -> list[bytes]:
    return list(raw.scan_iter(f"{prefix}:upload:*"))


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


async def test_large_image_is_sent_in_parts_that_leave_room_for_other_callers(
    new_store: StoreFactory, worker: WorkerStore, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    before = parts_sent(raw)
    name = await store.blobs.put(LARGE, time_to_live_s=600)
    # The first makes room for all of them.
    assert parts_sent(raw) - before == 1 + math.ceil(len(LARGE) / PART_BYTES)
    assert worker.get_blob(name) == LARGE
    assert 590_000 < raw.pttl(f"{unique_prefix}:blob:{name}") <= 600_000
    assert uploads(raw, unique_prefix) == []


async def test_of_two_uploads_of_one_image_the_first_counts_and_the_longer_wish_wins(
    new_store: StoreFactory, worker: WorkerStore, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    puts = [store.blobs.put(LARGE, time_to_live_s=life_s) for life_s in (60, 600, 60)]
    (name,) = set(await asyncio.gather(*puts))
    assert worker.get_blob(name) == LARGE
    assert raw.pttl(f"{unique_prefix}:blob:{name}") > 60_000
    assert uploads(raw, unique_prefix) == []


async def test_upload_that_the_store_lost_in_between_is_no_image(
    new_store: StoreFactory,
    raw: redis.Redis,
    unique_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, upload = await new_store("g1"), BlobWriter._upload

    async def emptied_in_between(self: BlobWriter, keys: Any, content: bytes, after: Any) -> int:
        count = await upload(self, keys, content, after)
        raw.delete(*keys)
        raw.setrange(keys[0], len(content) - 1, content[-1:])
        return count

    monkeypatch.setattr(BlobWriter, "_upload", emptied_in_between)
    with pytest.raises(BackendUnavailableError, match="lost an image"):
        await store.blobs.put(LARGE, time_to_live_s=60)
    assert list(raw.scan_iter(f"{unique_prefix}:blob:*")) == uploads(raw, unique_prefix) == []


async def test_part_that_a_failover_left_out_is_no_hole_in_an_image(
    new_store: StoreFactory, worker: WorkerStore, raw: redis.Redis, unique_prefix: str
) -> None:
    store, sent = await new_store("g1"), itertools.count(1)
    replica: dict[bytes, tuple[bytes, int]] = {}

    async def fails_over(_: float) -> None:
        number = next(sent)
        if number == 1:
            replica.update(
                {key: (raw.dump(key), raw.pttl(key)) for key in uploads(raw, unique_prefix)}
            )
        if number == 2:
            # The old primary acknowledged the second part, and the new one never got it.
            raw.delete(*uploads(raw, unique_prefix))
            for key, (value, life_ms) in replica.items():
                raw.restore(key, life_ms, value)

    with pytest.raises(BackendUnavailableError, match="lost an image"):
        await store.blobs.put(LARGE, time_to_live_s=60, after_part=fails_over)
    assert uploads(raw, unique_prefix) == []
    # The caller sends it again, and it is whole.
    assert worker.get_blob(await store.blobs.put(LARGE, time_to_live_s=60)) == LARGE


async def test_next_part_is_sent_when_what_follows_a_part_has_ended(
    new_store: StoreFactory, raw: redis.Redis
) -> None:
    store, go_on = await new_store("g1"), asyncio.Event()
    before = parts_sent(raw)

    async def after_part(took_s: float) -> None:
        assert took_s > 0
        await go_on.wait()

    putting = asyncio.create_task(store.blobs.put(LARGE, time_to_live_s=60, after_part=after_part))
    # The first one makes room, the second is the first part.
    await eventually_async(lambda: asyncio.to_thread(lambda: parts_sent(raw) - before == 2))
    go_on.set()
    await putting
    assert parts_sent(raw) - before == 1 + math.ceil(len(LARGE) / PART_BYTES)


async def test_upload_whose_caller_leaves_is_removed_at_once(
    new_store: StoreFactory,
    raw: redis.Redis,
    unique_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, upload = await new_store("g1"), BlobWriter._upload
    sent, never = asyncio.Event(), asyncio.Event()

    async def stalls(self: BlobWriter, keys: Any, content: bytes, after: Any) -> None:
        await upload(self, keys, content, after)
        sent.set()
        await never.wait()

    monkeypatch.setattr(BlobWriter, "_upload", stalls)
    putting = asyncio.create_task(store.blobs.put(LARGE, time_to_live_s=60))
    await sent.wait()
    assert len(uploads(raw, unique_prefix)) == 2
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert uploads(raw, unique_prefix) == []


async def test_user_who_may_not_send_parts_sends_the_whole(
    new_store: StoreFactory,
    worker: WorkerStore,
    raw: redis.Redis,
    unique_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, do = await new_store("g1"), BlobWriter._do

    async def forbidden(self: BlobWriter, *commands: Any) -> None:
        if any(command[0] == "SETRANGE" for command in commands):
            raise NoPermissionError("this user has no permissions to run the 'setrange' command")
        await do(self, *commands)

    monkeypatch.setattr(BlobWriter, "_do", forbidden)
    name = await store.blobs.put(LARGE, time_to_live_s=60)
    assert worker.get_blob(name) == LARGE
    assert uploads(raw, unique_prefix) == []


async def test_large_image_is_read_in_parts_that_leave_room_for_other_callers(
    new_store: StoreFactory, worker: WorkerStore, raw: redis.Redis
) -> None:
    store, content = await new_store("g1"), os.urandom(5 * MIB // 2)
    name = await store.blobs.put(content, time_to_live_s=60)
    before = raw.info("commandstats").get("cmdstat_getrange", {"calls": 0})["calls"]
    assert worker.get_blob(name) == content
    assert raw.info("commandstats")["cmdstat_getrange"]["calls"] - before == 3


async def test_image_of_a_whole_number_of_parts_is_read_to_its_end(
    new_store: StoreFactory, worker: WorkerStore
) -> None:
    store, content = await new_store("g1"), os.urandom(2 * MIB)
    name = await store.blobs.put(content, time_to_live_s=60)
    assert worker.get_blob(name) == content


async def test_user_who_may_not_read_parts_reads_the_whole(
    new_store: StoreFactory, worker: WorkerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await new_store("g1")
    name = await store.blobs.put(LARGE, time_to_live_s=60)

    def forbidden(*_: Any) -> bytes:
        raise NoPermissionError("this user has no permissions to run the 'getrange' command")

    monkeypatch.setattr(worker._redis, "getrange", forbidden)
    assert worker.get_blob(name) == LARGE
