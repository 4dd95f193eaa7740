"""The result store under faults of Redis and of the network, and its bounds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import redis
from arno.api.v1 import types_pb2
from arno.errors import BackendUnavailableError
from arno.results import gateway_store
from arno.results.connection import reading_client
from arno.results.gateway_store import GatewayStore
from arno.results.settings import ResultSettings
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState
from support.builders import new_job, result_store
from support.eventually import eventually, eventually_async
from support.redis_server import RedisServer, redis_executables
from support.stored_jobs import WAIT_S, StoreFactory, outcome, progress, run_jobs
from support.tcp_proxy import TcpProxy

pytestmark = pytest.mark.redis

TINY = types_pb2.Model(name="tiny", fingerprint="\u00ff", dtype="float32")


@pytest.mark.usefixtures("no_sweeps")
async def test_stream_alone_wakes_without_any_sweep(
    new_store: StoreFactory, worker: WorkerStore
) -> None:
    store = await new_store("g1")
    record = new_job()
    await store.claim(record, waited_for=True)
    waiting = asyncio.create_task(store.wait(record.id, timeout_s=WAIT_S))
    await run_jobs(worker, record)
    assert (await waiting).state is JobState.SUCCEEDED


@pytest.mark.usefixtures("no_sweeps")
async def test_no_wake_up_is_lost_when_connections_are_cut(
    redis_server: RedisServer,
    result_settings: ResultSettings,
    new_store: StoreFactory,
    worker: WorkerStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with TcpProxy(redis_server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        proxied = result_settings.model_copy(update={"redis_url": url})
        # Commands go past the proxy: only the connection that wake-ups come on is cut.
        monkeypatch.setattr(gateway_store, "reading_client", lambda _: reading_client(proxied))
        store = await new_store("g1")
        records = [new_job() for _ in range(300)]
        for record in records:
            await store.claim(record, waited_for=True)
        waits = [asyncio.create_task(store.wait(c.id, timeout_s=WAIT_S)) for c in records]
        for index, record in enumerate(records):
            await run_jobs(worker, record)
            if index % 5 == 0:
                proxy.cut()
        jobs = await asyncio.gather(*waits)
        assert {job.state for job in jobs} == {JobState.SUCCEEDED}
        assert proxy.cut_count > 20


async def test_commands_survive_cut_connections_and_count_once(
    redis_server: RedisServer, result_settings: ResultSettings
) -> None:
    async with TcpProxy(redis_server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        settings = result_settings.model_copy(update={"redis_url": url})
        store, worker = GatewayStore(settings, gateway="g1"), WorkerStore(settings)
        await store.start()
        for _ in range(30):
            record = new_job()
            await store.claim(record, waited_for=True)
            waiting = asyncio.create_task(store.wait(record.id, timeout_s=WAIT_S))
            asyncio.get_running_loop().call_soon(proxy.cut)
            attempt = await asyncio.to_thread(worker.begin, record)
            asyncio.get_running_loop().call_later(0.001, proxy.cut)
            assert await asyncio.to_thread(worker.finish, attempt, outcome())
            assert (await waiting).attempt_count == 1
        worker.close()
        await store.close()


async def test_sweep_finds_what_the_stream_has_lost(
    new_store: StoreFactory, worker: WorkerStore, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    records = [new_job(), new_job()]
    for record in records:
        await store.claim(record)
    waits = [asyncio.create_task(store.wait(c.id, timeout_s=WAIT_S)) for c in records]
    key = f"{unique_prefix}:watchers:{records[1].id}"
    await eventually_async(lambda: asyncio.to_thread(raw.exists, key))
    for record in records:
        raw.delete(f"{unique_prefix}:watchers:{record.id}")
        await run_jobs(worker, record)
    assert [job.state for job in await asyncio.gather(*waits)] == [JobState.SUCCEEDED] * 2


async def test_thousand_waiters_share_one_connection(
    result_settings: ResultSettings,
    new_store: StoreFactory,
    worker: WorkerStore,
    raw: redis.Redis,
) -> None:
    settings = result_settings.model_copy(update={"redis_connection_count_max": 1})
    before = {client["id"] for client in raw.client_list()}
    store = await new_store("g1", settings)
    records = [new_job() for _ in range(1000)]
    await asyncio.gather(*(store.claim(record) for record in records))
    waits = [asyncio.create_task(store.wait(c.id, timeout_s=60)) for c in records]
    await asyncio.sleep(0)
    # One connection for commands, one for wake-ups.
    assert len({client["id"] for client in raw.client_list()} - before) == 2
    await run_jobs(worker, *records)
    jobs = await asyncio.gather(*waits)
    assert {job.state for job in jobs} == {JobState.SUCCEEDED}


async def test_every_key_has_a_time_to_live(
    new_store: StoreFactory, worker: WorkerStore, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    records = [new_job() for _ in range(6)]
    for record in records:
        await store.claim(record, idempotency_key=record.id, waited_for=True)
    progress(worker, worker.begin(records[0]), JobState.DECODING)
    await run_jobs(worker, records[1])
    await store.request_cancel(records[2].id)
    await store.delete(records[3].id)
    await store.release(records[4].id)
    await store.blobs.put(b"image", time_to_live_s=60)
    worker.begin(new_job())
    worker.begin(new_job(deadline_at_ms=1))
    await anext(store.watch(records[5].id))
    worker.report_pace("worker", 1.0, TINY)
    keys = list(raw.scan_iter(f"{unique_prefix}:*"))
    kinds = {key.decode().split(":")[1] for key in keys}
    lasting = {"job", "watchers", "idempotency", "blob", "stored"}
    assert kinds == lasting | {"done", "models", "paces", "since", "worker"}
    left_ms = {key.decode().split(":", 1)[1]: raw.pttl(key) for key in keys}
    assert not [name for name, left in left_ms.items() if left < 0]
    assert 600_000 < left_ms[f"job:{records[0].id}"] <= 660_000
    lives = {left for name, left in left_ms.items() if records[0].id in name}
    assert max(lives) - min(lives) < 1000


async def test_worker_that_is_silent_for_long_counts_as_gone(
    new_store: StoreFactory, worker: WorkerStore, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    worker.report_pace("live", 250.5, TINY)
    worker.report_pace("new", 0.0, TINY)
    raw.hset(f"{unique_prefix}:paces", "gone", "100 1700000000")
    raw.hset(f"{unique_prefix}:paces", "foreign", "no pace")
    assert sorted(await store.paces()) == [0.0, 250.5]
    assert raw.hlen(f"{unique_prefix}:paces") == 2


async def test_models_of_live_workers_are_listed_once(
    new_store: StoreFactory, worker: WorkerStore, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    assert await store.models() == []
    base = types_pb2.Model(name="base", fingerprint="0a" * 32, dtype="bfloat16")
    for name, model in (("one", TINY), ("two", TINY), ("three", base)):
        worker.report_pace(name, 1.0, model)
    raw.hset(f"{unique_prefix}:models", "gone", b"1700000000 " + base.SerializeToString())
    raw.hset(f"{unique_prefix}:models", "foreign", "no report")
    assert await store.models() == [base, TINY]
    assert raw.hlen(f"{unique_prefix}:models") == 3


async def test_gateways_count_each_other_and_forget_one_that_is_silent(
    new_store: StoreFactory, raw: redis.Redis, unique_prefix: str
) -> None:
    one, other = await new_store("g1"), await new_store("g2")
    assert await one.gateway_count() == 1
    assert await other.gateway_count() == 2
    assert await one.gateway_count() == 2
    raw.hset(f"{unique_prefix}:gateways", "g2", "1700000000")
    raw.hset(f"{unique_prefix}:gateways", "foreign", "no time")
    assert await one.gateway_count() == 1
    assert raw.hkeys(f"{unique_prefix}:gateways") == [b"g1"]
    assert 0 < raw.ttl(f"{unique_prefix}:gateways") <= 5


async def test_later_ends_are_counted(
    worker: WorkerStore, raw: redis.Redis, unique_prefix: str
) -> None:
    record = new_job()
    attempt = worker.begin(record)
    firsts = [worker.finish(attempt, outcome(ended_at_ms=index)) for index in range(3)]
    assert firsts == [True, False, False]
    assert raw.hget(f"{unique_prefix}:job:{record.id}", "duplicate_count") == b"2"


async def test_jobs_survive_a_killed_redis(own_redis_server: RedisServer) -> None:
    settings = result_store(own_redis_server, "arno")
    store, worker = GatewayStore(settings, gateway="g1"), WorkerStore(settings)
    await store.start()
    records = [new_job() for _ in range(20)]
    for record in records:
        await store.claim(record, waited_for=True)
    waits = [asyncio.create_task(store.wait(c.id, timeout_s=60)) for c in records]
    await run_jobs(worker, records[0])
    await waits[0]
    own_redis_server.kill()
    with pytest.raises(BackendUnavailableError, match="answer a ping"):
        await store.ping()
    with pytest.raises(BackendUnavailableError, match="begin job"):
        worker.begin(records[1])
    with pytest.raises(BackendUnavailableError, match="read job"):
        await store.wait(records[1].id, timeout_s=2)
    own_redis_server.start()
    await run_jobs(worker, *records[1:])
    assert {job.state for job in await asyncio.gather(*waits)} == {JobState.SUCCEEDED}
    await store.ping()
    await store.close()
    worker.close()


async def test_wake_up_stream_is_bounded(
    new_store: StoreFactory, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    stream = f"{unique_prefix}:done:g1"
    record = new_job()
    await store.claim(record, waited_for=True)
    with raw.pipeline(transaction=False) as pipeline:
        for _ in range(12_000):
            pipeline.xadd(stream, {"job": "other", "state": "SUCCEEDED"})
        pipeline.execute()
    await store.request_cancel(record.id)
    assert eventually(lambda: raw.xlen(stream) < 10_500)
    assert 0 < raw.ttl(stream) <= 600


async def test_foreign_entry_in_a_wake_up_stream_keeps_nobody_waiting(
    new_store: StoreFactory, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    record = new_job()
    await store.claim(record, waited_for=True)
    waiting = asyncio.create_task(store.wait(record.id, timeout_s=WAIT_S))
    raw.xadd(f"{unique_prefix}:done:g1", {b"foreign": b"\xff"})
    await store.request_cancel(record.id)
    assert (await waiting).state is JobState.CANCELLED
    await store.ping()


async def test_sweep_past_a_job_that_others_wrote_into_wakes_the_others(
    new_store: StoreFactory, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    records = new_job(), new_job()
    watches = [store.watch(record.id) for record in records]
    for record, watch in zip(records, watches, strict=True):
        await store.claim(record, waited_for=True)
        await anext(watch)
    spoiled, sound = (f"{unique_prefix}:job:{record.id}" for record in records)
    raw.hset(spoiled, "revision", "foreign")
    raw.hset(sound, mapping={"state": "CANCELLED", "revision": 99})
    async with asyncio.timeout(WAIT_S):
        changes = await asyncio.gather(*map(anext, watches), return_exceptions=True)
    assert isinstance(changes[0], ValueError)
    assert changes[1].state is JobState.CANCELLED
    await store.ping()


async def test_loop_ends_when_it_is_closed_in_the_middle_of_a_backlog(
    new_store: StoreFactory, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    with raw.pipeline(transaction=False) as pipeline:
        for _ in range(5_000):
            pipeline.xadd(f"{unique_prefix}:done:g1", {"job": "other", "state": "SUCCEEDED"})
        pipeline.execute()
    # The reply is there by now, unread: the moment in which the client swallows a cancellation.
    await store.close()


async def test_close_tells_those_who_still_wait(new_store: StoreFactory) -> None:
    store = await new_store("g1")
    record = new_job()
    await store.claim(record, waited_for=True)
    waiting = asyncio.create_task(store.wait(record.id, timeout_s=WAIT_S))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(BackendUnavailableError, match="closed"):
        await waiting


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
async def test_redis_that_can_forget_is_told_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, appendfsync: str
) -> None:
    executable = next(iter(redis_executables().values()))
    server = RedisServer(tmp_path / "redis", executable, appendfsync=appendfsync)
    server.start()
    store = GatewayStore(result_store(server, "arno"), gateway="g1")
    await store.start()
    await store.close()
    server.stop()
    warnings = [
        record.getMessage() for record in caplog.records if "can lose" in record.getMessage()
    ]
    assert len(warnings) == (appendfsync == "everysec")
    assert all("appendfsync everysec" in sentence for sentence in warnings)
