"""A Redis that has lost its jobs: waiters and watchers, and jobs that workers make again."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncGenerator
from typing import cast

import pytest
import redis
from arno.errors import UnknownJobError
from arno.results.gateway_store import GatewayStore
from arno.results.jobs import Attempt, JobSnapshot
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState
from arno.vocabulary.job_id import new_job_id
from support.builders import new_job, result_store
from support.redis_server import RedisServer
from support.stored_jobs import WAIT_S, StoreFactory, outcome, progress, run_jobs

pytestmark = pytest.mark.redis


async def _watched_twin(
    store: GatewayStore, worker: WorkerStore, raw: redis.Redis, prefix: str
) -> tuple[AsyncGenerator[JobSnapshot], Attempt]:
    """Return a watch that has read revision 2 of a job that the store has lost since."""
    record = new_job()
    await store.claim(record)
    attempt = await asyncio.to_thread(worker.begin, record)
    watch = cast("AsyncGenerator[JobSnapshot]", store.watch(record.id))
    assert (await anext(watch)).revision == 2
    raw.delete(f"{prefix}:job:{record.id}", f"{prefix}:watchers:{record.id}")
    return watch, attempt


async def test_watch_yields_the_end_of_a_job_that_was_lost_and_made_again_with_an_equal_revision(
    new_store: StoreFactory, worker: WorkerStore, raw: redis.Redis, unique_prefix: str
) -> None:
    watch, attempt = await _watched_twin(await new_store("g1"), worker, raw, unique_prefix)
    await asyncio.to_thread(worker.finish, attempt, outcome())
    async with asyncio.timeout(WAIT_S):
        changes = [(job.state, job.revision) async for job in watch]
    assert changes == [(JobState.SUCCEEDED, 2)]


async def test_sweep_finds_a_change_of_a_job_that_was_made_again_with_an_equal_revision(
    new_store: StoreFactory, worker: WorkerStore, raw: redis.Redis, unique_prefix: str
) -> None:
    watch, attempt = await _watched_twin(await new_store("g1"), worker, raw, unique_prefix)
    await asyncio.to_thread(progress, worker, attempt, JobState.DECODING)
    async with asyncio.timeout(WAIT_S):
        change = await anext(watch)
    assert (change.state, change.revision) == (JobState.DECODING, 2)
    await watch.aclose()


async def test_job_made_by_a_version_without_incarnations_is_read_and_watched(
    new_store: StoreFactory, worker: WorkerStore, raw: redis.Redis, unique_prefix: str
) -> None:
    store, record = await new_store("g1"), new_job()
    await store.claim(record)
    raw.hdel(f"{unique_prefix}:job:{record.id}", "incarnation")
    watch = cast("AsyncGenerator[JobSnapshot]", store.watch(record.id))
    assert (await anext(watch)).incarnation == ""
    await run_jobs(worker, record)
    async with asyncio.timeout(WAIT_S):
        assert [job.state async for job in watch][-1] is JobState.SUCCEEDED


async def test_redis_that_came_back_empty_never_answers_falsely(
    own_redis_server: RedisServer,
) -> None:
    settings = result_store(own_redis_server, "arno")
    store, worker = GatewayStore(settings, gateway="g1"), WorkerStore(settings)
    await store.start()
    lost, running = new_job(), new_job()
    for record in (lost, running):
        await store.claim(record, waited_for=True)
    attempt = worker.begin(running)
    waiting = asyncio.create_task(store.wait(lost.id, timeout_s=60))
    await asyncio.sleep(0)
    own_redis_server.kill()
    for left in own_redis_server.folder.glob("append*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    own_redis_server.start()
    with pytest.raises(UnknownJobError):
        await waiting
    assert await store.get(running.id) is None
    assert worker.finish(attempt, outcome())
    job = await store.wait(running.id, timeout_s=WAIT_S)
    assert (job.state, job.tenant) == (JobState.SUCCEEDED, running.tenant)
    await store.close()
    worker.close()


async def test_store_that_came_up_empty_is_newer_than_what_is_older(
    own_redis_server: RedisServer,
) -> None:
    now_ms = time.time_ns() // 1_000_000
    store = GatewayStore(result_store(own_redis_server, "arno"), gateway="g1")
    await store.start()
    before, after = new_job_id(now_ms - 1000), new_job_id(now_ms + 60_000)
    assert not await store.is_newer_than(after)
    assert await store.is_newer_than(before)
    own_redis_server.restart_after_kill()
    kept = new_job_id(time.time_ns() // 1_000_000)
    assert not await store.is_newer_than(kept)
    own_redis_server.kill_and_forget()
    own_redis_server.start()
    assert await store.is_newer_than(kept)
    assert not await store.is_newer_than(after)
    assert not await store.is_newer_than(new_job_id(now_ms - 100 * 86_400_000))
    assert not await store.is_newer_than("not-a-name-of-ours")
    await store.close()
