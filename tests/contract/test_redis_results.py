"""The result store on a real redis-server: the suite, and what only Redis can do to it."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import redis
from arno.errors import BackendUnavailableError, UnknownJobError
from arno.results.job_ids import new_job_id
from arno.results.ports import JobClaim, JobState
from arno.results.redis import RedisJobStore, RedisResultWriter
from arno.results.redis.clients import reading_client
from arno.results.settings import ResultSettings
from contract.results_suite import WAIT_S, ResultsSuite, new_claim, origin_of, outcome, progress
from support.eventually import eventually, eventually_async
from support.redis_server import RedisServer, redis_executables
from support.tcp_proxy import TcpProxy

pytestmark = pytest.mark.redis

StoreFactory = Callable[..., Awaitable[RedisJobStore]]


@pytest.fixture
def result_settings(redis_server: RedisServer, unique_prefix: str) -> ResultSettings:
    return ResultSettings(redis_url=redis_server.url, redis_key_prefix=unique_prefix)


@pytest.fixture
async def new_store(result_settings: ResultSettings) -> AsyncIterator[StoreFactory]:
    stores: list[RedisJobStore] = []

    async def build(gateway: str, settings: ResultSettings = result_settings) -> RedisJobStore:
        store = RedisJobStore(settings, gateway=gateway)
        stores.append(store)
        await store.start()
        return store

    yield build
    for store in stores:
        await store.close()


@pytest.fixture
def writer(result_settings: ResultSettings) -> Iterator[RedisResultWriter]:
    writer = RedisResultWriter(result_settings)
    yield writer
    writer.close()


class TestRedisResults(ResultsSuite):
    @pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
    def result_settings(
        self, request: pytest.FixtureRequest, redis_server: RedisServer, unique_prefix: str
    ) -> ResultSettings:
        url = f"{redis_server.url}?protocol={request.param}"
        return ResultSettings(redis_url=url, redis_key_prefix=unique_prefix)


async def run_jobs(writer: RedisResultWriter, *claims: JobClaim) -> None:
    def work() -> None:
        for claim in claims:
            writer.finish(writer.begin(origin_of(claim)), outcome())

    await asyncio.to_thread(work)


@pytest.mark.usefixtures("no_sweeps")
async def test_stream_alone_wakes_without_any_sweep(
    new_store: StoreFactory, writer: RedisResultWriter
) -> None:
    store = await new_store("g1")
    claim = new_claim()
    await store.claim(claim)
    waiting = asyncio.create_task(store.wait(claim.job_id, timeout_s=WAIT_S))
    await run_jobs(writer, claim)
    assert (await waiting).state is JobState.SUCCEEDED


@pytest.mark.usefixtures("no_sweeps")
async def test_no_wake_up_is_lost_when_connections_are_cut(
    redis_server: RedisServer,
    result_settings: ResultSettings,
    writer: RedisResultWriter,
) -> None:
    async with TcpProxy(redis_server.port) as proxy:
        store = RedisJobStore(result_settings, gateway="g1")
        proxied = result_settings.model_copy(
            update={"redis_url": f"redis://127.0.0.1:{proxy.port}/0"}
        )
        store._reader = store._wake_ups._reader = reading_client(proxied)
        await store.start()
        claims = [new_claim() for _ in range(300)]
        for claim in claims:
            await store.claim(claim)
        waits = [asyncio.create_task(store.wait(c.job_id, timeout_s=WAIT_S)) for c in claims]
        for index, claim in enumerate(claims):
            await run_jobs(writer, claim)
            if index % 5 == 0:
                proxy.cut()
        jobs = await asyncio.gather(*waits)
        assert {job.state for job in jobs} == {JobState.SUCCEEDED}
        assert store.statistics().fault_count > 20
        await store.close()


async def test_commands_survive_cut_connections_and_count_once(
    redis_server: RedisServer, result_settings: ResultSettings
) -> None:
    async with TcpProxy(redis_server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        settings = result_settings.model_copy(update={"redis_url": url})
        store, writer = RedisJobStore(settings, gateway="g1"), RedisResultWriter(settings)
        await store.start()
        for _ in range(30):
            claim = new_claim()
            await store.claim(claim)
            waiting = asyncio.create_task(store.wait(claim.job_id, timeout_s=WAIT_S))
            asyncio.get_running_loop().call_soon(proxy.cut)
            attempt = await asyncio.to_thread(writer.begin, origin_of(claim))
            asyncio.get_running_loop().call_later(0.001, proxy.cut)
            assert await asyncio.to_thread(writer.finish, attempt, outcome())
            assert (await waiting).attempt_count == 1
        writer.close()
        await store.close()


async def test_sweep_finds_what_the_stream_has_lost(
    new_store: StoreFactory, writer: RedisResultWriter, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    claims = [new_claim(watcher=""), new_claim(watcher="")]
    for claim in claims:
        await store.claim(claim)
    waits = [asyncio.create_task(store.wait(c.job_id, timeout_s=WAIT_S)) for c in claims]
    key = f"{unique_prefix}:watchers:{claims[1].job_id}"
    await eventually_async(lambda: asyncio.to_thread(raw.exists, key))
    for claim in claims:
        raw.delete(f"{unique_prefix}:watchers:{claim.job_id}")
        await run_jobs(writer, claim)
    assert [job.state for job in await asyncio.gather(*waits)] == [JobState.SUCCEEDED] * 2


async def test_thousand_waiters_share_one_connection(
    result_settings: ResultSettings,
    new_store: StoreFactory,
    writer: RedisResultWriter,
    raw: redis.Redis,
) -> None:
    settings = result_settings.model_copy(update={"redis_connection_count_max": 1})
    before = {client["id"] for client in raw.client_list()}
    store = await new_store("g1", settings)
    claims = [new_claim() for _ in range(1000)]
    await asyncio.gather(*(store.claim(claim) for claim in claims))
    waits = [asyncio.create_task(store.wait(c.job_id, timeout_s=60)) for c in claims]
    await asyncio.sleep(0)
    assert store.statistics().waiter_count == 1000
    # One connection for commands, one for wake-ups.
    assert len({client["id"] for client in raw.client_list()} - before) == 2
    await run_jobs(writer, *claims)
    jobs = await asyncio.gather(*waits)
    assert {job.state for job in jobs} == {JobState.SUCCEEDED}
    assert store.statistics().waiter_count == 0


async def test_every_key_has_a_time_to_live(
    new_store: StoreFactory, writer: RedisResultWriter, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    claims = [new_claim(idempotency_key=f"k{index}") for index in range(6)]
    for claim in claims:
        await store.claim(claim)
    progress(writer, writer.begin(origin_of(claims[0])), JobState.DECODING)
    await run_jobs(writer, claims[1])
    await store.request_cancel(claims[2].job_id)
    await store.delete(claims[3].job_id)
    await store.release(claims[4].job_id)
    await store.put_blob(b"image", time_to_live_s=60)
    writer.begin(origin_of(new_claim()))
    writer.begin(origin_of(new_claim(deadline_at_ms=1)))
    await anext(store.watch(claims[5].job_id))
    writer.report_pace("worker", 1.0)
    keys = list(raw.scan_iter(f"{unique_prefix}:*"))
    kinds = {key.decode().split(":")[1] for key in keys}
    assert kinds == {"job", "watchers", "idempotency", "done", "blob", "paces", "since", "worker"}
    left_ms = {key.decode().split(":", 1)[1]: raw.pttl(key) for key in keys}
    assert not [name for name, left in left_ms.items() if left < 0]
    assert 600_000 < left_ms[f"job:{claims[0].job_id}"] <= 660_000
    lives = {left for name, left in left_ms.items() if claims[0].job_id in name}
    assert max(lives) - min(lives) < 1000


async def test_worker_that_is_silent_for_long_counts_as_gone(
    new_store: StoreFactory, writer: RedisResultWriter, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    writer.report_pace("live", 250.5)
    writer.report_pace("new", 0.0)
    raw.hset(f"{unique_prefix}:paces", "gone", "100 1700000000")
    raw.hset(f"{unique_prefix}:paces", "foreign", "no pace")
    assert sorted(await store.paces()) == [0.0, 250.5]
    assert raw.hlen(f"{unique_prefix}:paces") == 2


async def test_later_ends_are_counted(
    writer: RedisResultWriter, raw: redis.Redis, unique_prefix: str
) -> None:
    claim = new_claim()
    attempt = writer.begin(origin_of(claim))
    firsts = [writer.finish(attempt, outcome(ended_at_ms=index)) for index in range(3)]
    assert firsts == [True, False, False]
    assert raw.hget(f"{unique_prefix}:job:{claim.job_id}", "duplicate_count") == b"2"


async def test_blob_lives_as_long_as_its_longest_wish_and_is_checked(
    new_store: StoreFactory, writer: RedisResultWriter, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    name = await store.put_blob(b"image", time_to_live_s=60)
    key = f"{unique_prefix}:blob:{name}"
    await store.put_blob(b"image", time_to_live_s=600)
    await store.put_blob(b"image", time_to_live_s=60)
    assert 60_000 < raw.pttl(key) <= 600_000
    raw.set(key, b"imagf", keepttl=True)
    assert writer.get_blob(name) is None


async def test_jobs_survive_a_killed_redis(own_redis_server: RedisServer) -> None:
    settings = ResultSettings(redis_url=own_redis_server.url)
    store, writer = RedisJobStore(settings, gateway="g1"), RedisResultWriter(settings)
    await store.start()
    claims = [new_claim() for _ in range(20)]
    for claim in claims:
        await store.claim(claim)
    waits = [asyncio.create_task(store.wait(c.job_id, timeout_s=60)) for c in claims]
    await run_jobs(writer, claims[0])
    await waits[0]
    own_redis_server.kill()
    with pytest.raises(BackendUnavailableError, match="answer a ping"):
        await store.ping()
    with pytest.raises(BackendUnavailableError, match="begin job"):
        writer.begin(origin_of(claims[1]))
    with pytest.raises(BackendUnavailableError, match="read job"):
        await store.wait(claims[1].job_id, timeout_s=2)
    own_redis_server.start()
    await run_jobs(writer, *claims[1:])
    assert {job.state for job in await asyncio.gather(*waits)} == {JobState.SUCCEEDED}
    await store.ping()
    await store.close()
    writer.close()


async def test_redis_that_came_back_empty_never_answers_falsely(
    own_redis_server: RedisServer,
) -> None:
    settings = ResultSettings(redis_url=own_redis_server.url)
    store, writer = RedisJobStore(settings, gateway="g1"), RedisResultWriter(settings)
    await store.start()
    lost, running = new_claim(), new_claim()
    for claim in (lost, running):
        await store.claim(claim)
    attempt = writer.begin(origin_of(running))
    waiting = asyncio.create_task(store.wait(lost.job_id, timeout_s=60))
    await eventually_async(lambda: asyncio.sleep(0, store.statistics().waiter_count == 1))
    own_redis_server.kill()
    for left in own_redis_server.folder.glob("append*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    own_redis_server.start()
    with pytest.raises(UnknownJobError):
        await waiting
    assert await store.get(running.job_id) is None
    assert writer.finish(attempt, outcome())
    job = await store.wait(running.job_id, timeout_s=WAIT_S)
    assert (job.state, job.tenant) == (JobState.SUCCEEDED, running.tenant)
    await store.close()
    writer.close()


async def test_wake_up_stream_is_bounded(
    new_store: StoreFactory, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    stream = f"{unique_prefix}:done:g1"
    claim = new_claim()
    await store.claim(claim)
    with raw.pipeline(transaction=False) as pipeline:
        for _ in range(12_000):
            pipeline.xadd(stream, {"job": "other", "state": "SUCCEEDED"})
        pipeline.execute()
    await store.request_cancel(claim.job_id)
    assert eventually(lambda: raw.xlen(stream) < 10_500)
    assert 0 < raw.ttl(stream) <= 600


async def test_foreign_entry_in_a_wake_up_stream_keeps_nobody_waiting(
    new_store: StoreFactory, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    claim = new_claim()
    await store.claim(claim)
    waiting = asyncio.create_task(store.wait(claim.job_id, timeout_s=WAIT_S))
    raw.xadd(f"{unique_prefix}:done:g1", {b"foreign": b"\xff"})
    await store.request_cancel(claim.job_id)
    assert (await waiting).state is JobState.CANCELLED
    await store.ping()


async def test_sweep_past_a_job_that_others_wrote_into_wakes_the_others(
    new_store: StoreFactory, raw: redis.Redis, unique_prefix: str
) -> None:
    store = await new_store("g1")
    claims = new_claim(), new_claim()
    watches = [store.watch(claim.job_id) for claim in claims]
    for claim, watch in zip(claims, watches, strict=True):
        await store.claim(claim)
        await anext(watch)
    spoiled, sound = (f"{unique_prefix}:job:{claim.job_id}" for claim in claims)
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
    claim = new_claim()
    await store.claim(claim)
    waiting = asyncio.create_task(store.wait(claim.job_id, timeout_s=WAIT_S))
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
    store = RedisJobStore(ResultSettings(redis_url=server.url), gateway="g1")
    await store.start()
    await store.close()
    server.stop()
    told = [record.getMessage() for record in caplog.records if "can lose" in record.getMessage()]
    assert len(told) == (appendfsync == "everysec")
    assert all("appendfsync everysec" in sentence for sentence in told)


async def test_store_that_came_up_empty_may_have_forgotten_what_is_older(
    own_redis_server: RedisServer,
) -> None:
    now_ms = time.time_ns() // 1_000_000
    store = RedisJobStore(ResultSettings(redis_url=own_redis_server.url), gateway="g1")
    await store.start()
    before, after = new_job_id(now_ms - 1000), new_job_id(now_ms + 60_000)
    assert not await store.may_have_forgotten(after)
    assert await store.may_have_forgotten(before)
    own_redis_server.restart_after_kill()
    kept = new_job_id(time.time_ns() // 1_000_000)
    assert not await store.may_have_forgotten(kept)
    own_redis_server.kill_and_forget()
    own_redis_server.start()
    assert await store.may_have_forgotten(kept)
    assert not await store.may_have_forgotten(after)
    assert not await store.may_have_forgotten(new_job_id(now_ms - 100 * 86_400_000))
    assert not await store.may_have_forgotten("not-a-name-of-ours")
    await store.close()
