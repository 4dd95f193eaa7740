"""Deadlines are kept where no worker runs: readers, waiters and watchers learn of the end."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis
from arno.results.jobs import OVERDUE_MS, JobSnapshot
from arno.results.settings import ResultSettings
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState
from support.builders import new_job
from support.stored_jobs import WAIT_S, StoreFactory, outcome, progress

pytestmark = pytest.mark.redis


def overdue_job(**changes: int):
    return new_job(deadline_at_ms=time.time_ns() // 1_000_000 - OVERDUE_MS, **changes)


def assert_expired(job: JobSnapshot | None) -> None:
    assert job is not None
    assert job.state is JobState.EXPIRED
    assert job.outcome is not None
    assert job.outcome.error.reason == "DEADLINE_EXCEEDED"
    assert job.outcome.ended_at_ms >= job.deadline_at_ms + OVERDUE_MS


async def test_job_without_a_worker_has_expired_for_whoever_reads_waits_or_watches(
    new_store: StoreFactory,
) -> None:
    store = await new_store("g1")
    read, waited, watched = (overdue_job() for _ in range(3))
    for record in (read, waited, watched):
        await store.claim(record)
    assert_expired(await store.get(read.id))
    assert_expired(await store.wait(waited.id, timeout_s=WAIT_S))
    assert_expired([job async for job in store.watch(watched.id)][-1])


async def test_sweep_ends_the_watch_of_a_job_whose_deadline_passes_meanwhile(
    new_store: StoreFactory, raw: redis.Redis, unique_prefix: str
) -> None:
    store, record = await new_store("g1"), new_job()
    await store.claim(record)
    watch = store.watch(record.id)
    assert (await anext(watch)).state is JobState.QUEUED
    passed_ms = time.time_ns() // 1_000_000 - OVERDUE_MS
    raw.hset(f"{unique_prefix}:job:{record.id}", "deadline_at_ms", passed_ms)
    async with asyncio.timeout(WAIT_S):
        assert_expired([job async for job in watch][-1])


async def test_worker_that_holds_the_job_ends_it_and_a_dead_one_does_not(
    new_store: StoreFactory, result_settings: ResultSettings, raw: redis.Redis, unique_prefix: str
) -> None:
    store, record = await new_store("g1"), overdue_job()
    await store.claim(record)
    worker = WorkerStore(result_settings, silence_s=600)
    attempt = worker.begin(record)
    progress(worker, attempt, JobState.DECODING)
    held = await store.get(record.id)
    assert held is not None
    assert held.state is JobState.DECODING
    for key in raw.scan_iter(f"{unique_prefix}:worker:*"):
        raw.delete(key)
    assert_expired(await store.get(record.id))
    # What it brings when it comes back is the second end.
    assert not worker.finish(attempt, outcome())
    worker.close()


async def test_deadline_of_a_moment_ago_is_left_to_the_workers(new_store: StoreFactory) -> None:
    store = await new_store("g1")
    record = new_job(deadline_at_ms=time.time_ns() // 1_000_000)
    await store.claim(record)
    found = await store.get(record.id)
    assert found is not None
    assert found.state is JobState.QUEUED


async def test_full_store_shows_an_overdue_job_as_it_is(
    new_store: StoreFactory, raw: redis.Redis
) -> None:
    store, record = await new_store("g1"), overdue_job()
    await store.claim(record)
    raw.config_set("maxmemory", 1)
    try:
        found = await store.get(record.id)
    finally:
        raw.config_set("maxmemory", 0)
    assert found is not None
    assert found.state is JobState.QUEUED
