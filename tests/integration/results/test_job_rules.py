"""The rules of a job in the store, with both versions of the Redis protocol."""

from __future__ import annotations

import asyncio
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from arno.api.v1 import job_pb2
from arno.bus.v1.records_pb2 import JobRecord
from arno.errors import IdempotencyConflictError, UnknownJobError
from arno.results.settings import ResultSettings
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState
from support.builders import new_job, result_store
from support.redis_server import RedisServer
from support.stored_jobs import WAIT_S, StoreFactory, outcome, progress

pytestmark = pytest.mark.redis


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def result_settings(
    request: pytest.FixtureRequest, redis_server: RedisServer, unique_prefix: str
) -> ResultSettings:
    url = f"{redis_server.url}?protocol={request.param}"
    return result_store(redis_server, unique_prefix, redis_url=url)


async def test_claimed_job_is_queued(new_store: StoreFactory) -> None:
    store = await new_store("g1")
    record = new_job()
    assert await store.claim(record) == record.id
    job = await store.get(record.id)
    assert job is not None
    assert (job.state, job.tenant, job.attempt_count) == (JobState.QUEUED, "acme", 0)
    assert (job.submitted_at_ms, job.deadline_at_ms) == (
        record.submitted_at_ms,
        record.deadline_at_ms,
    )
    assert (job.outcome, job.task_results, job.cancel_requested) == (None, (), False)


async def test_unknown_job_is_none_to_get_and_an_error_to_wait_and_watch(
    new_store: StoreFactory,
) -> None:
    store = await new_store("g1")
    assert await store.get("nobody") is None
    with pytest.raises(UnknownJobError):
        await store.wait("nobody", timeout_s=WAIT_S)
    with pytest.raises(UnknownJobError):
        await anext(store.watch("nobody"))
    await store.request_cancel("nobody")
    await store.delete("nobody")


async def test_same_idempotency_key_and_body_is_the_same_job(new_store: StoreFactory) -> None:
    store = await new_store("g1")
    first, again = new_job(), new_job()
    for record in (first, first, again):
        assert await store.claim(record, idempotency_key="k") == first.id
    assert await store.get(again.id) is None


async def test_same_idempotency_key_with_another_body_is_a_conflict(
    new_store: StoreFactory,
) -> None:
    store = await new_store("g1")
    first = new_job()
    await store.claim(first, idempotency_key="k", body_sha256="a" * 64)
    with pytest.raises(IdempotencyConflictError, match=first.id):
        await store.claim(new_job(), idempotency_key="k", body_sha256="b" * 64)


async def test_idempotency_keys_belong_to_their_tenant(new_store: StoreFactory) -> None:
    store = await new_store("g1")
    for tenant, key in [("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c")]:
        record = new_job(tenant=tenant)
        assert await store.claim(record, idempotency_key=key) == record.id


async def test_fifty_claims_at_once_with_one_key_make_one_job(new_store: StoreFactory) -> None:
    stores = [await new_store("g1"), await new_store("g2")]
    records = [new_job() for _ in range(50)]
    ids = await asyncio.gather(
        *(
            stores[index % 2].claim(record, idempotency_key="k")
            for index, record in enumerate(records)
        )
    )
    assert len(set(ids)) == 1
    found = [record for record in records if await stores[0].get(record.id)]
    assert [record.id for record in found] == [ids[0]]


async def test_only_a_job_that_is_known_is_noted_as_published(new_store: StoreFactory) -> None:
    store = await new_store("g1")
    noted, deleted = new_job(), new_job()
    for record in (noted, deleted):
        await store.claim(record)
    before = await store.get(noted.id)
    await store.delete(deleted.id)
    for job_id in (noted.id, deleted.id, "nobody"):
        await store.note_published(job_id)
    after = await store.get(noted.id)
    assert before is not None
    assert after is not None
    assert (before.published, after.published) == (False, True)
    assert await store.get(deleted.id) is None
    assert await store.get("nobody") is None


async def test_released_job_frees_its_key_and_is_not_begun(
    new_store: StoreFactory, worker: WorkerStore
) -> None:
    store = await new_store("g1")
    record, again = new_job(), new_job()
    await store.claim(record, idempotency_key="k")
    await store.release(record.id)
    assert await store.get(record.id) is None
    assert worker.begin(record).state is JobState.CANCELLED
    assert await store.claim(again, idempotency_key="k") == again.id


async def test_begin_counts_attempts(new_store: StoreFactory, worker: WorkerStore) -> None:
    store = await new_store("g1")
    record = new_job()
    await store.claim(record)
    numbers = [worker.begin(record).number for _ in range(3)]
    assert numbers == [1, 2, 3]
    job = await store.get(record.id)
    assert job is not None
    assert job.attempt_count == 3


async def test_lost_job_is_created_anew_by_each_of_the_workers_calls(
    new_store: StoreFactory, worker: WorkerStore
) -> None:
    store = await new_store("g1")
    begun = worker.begin(new_job())
    lost = [new_job(), new_job()]
    attempts = [_attempt_on_lost_job(begun, record) for record in lost]
    assert progress(worker, attempts[0], JobState.DECODING, task_results={0: b"r"})
    assert worker.finish(attempts[1], outcome())
    jobs = [await store.get(job_id) for job_id in (begun.job_id, *(c.id for c in lost))]
    states = [job.state for job in jobs if job is not None]
    assert states == [JobState.QUEUED, JobState.DECODING, JobState.SUCCEEDED]
    assert [job.tenant for job in jobs if job is not None] == ["acme"] * 3
    assert [job.attempt_count for job in jobs if job is not None] == [1, 1, 1]


async def test_progress_moves_only_forward_and_keeps_results_in_order(
    new_store: StoreFactory, worker: WorkerStore
) -> None:
    store = await new_store("g1")
    record = new_job()
    await store.claim(record)
    attempt = worker.begin(record)
    results = {10: b"ten", 2: b"two\x00\xff"}
    assert progress(worker, attempt, JobState.DECODING, task_results=results, decoded_token_count=7)
    assert progress(
        worker, attempt, JobState.ENCODING, task_results={0: b"zero"}, decoded_token_count=9
    )
    job = await store.get(record.id)
    assert job is not None
    assert (job.state, job.decoded_token_count) == (JobState.DECODING, 9)
    assert job.task_results == (b"zero", b"two\x00\xff", b"ten")


async def test_stale_attempt_may_not_write_progress(
    new_store: StoreFactory, worker: WorkerStore
) -> None:
    store = await new_store("g1")
    record = new_job()
    await store.claim(record)
    stale = worker.begin(record)
    assert progress(worker, stale, JobState.ENCODING, task_results={0: b"stale"})
    newest = worker.begin(record)
    assert not progress(worker, stale, JobState.DECODING, task_results={0: b"stale"})
    job = await store.get(record.id)
    assert job is not None
    assert (job.state, job.task_results) == (JobState.ENCODING, ())
    assert progress(worker, newest, JobState.DECODING, task_results={0: b"newest"})
    job = await store.get(record.id)
    assert job is not None
    assert job.task_results == (b"newest",)


async def test_first_end_wins_over_twenty_racing_writers(
    new_store: StoreFactory, worker: WorkerStore
) -> None:
    store = await new_store("g1")
    record = new_job()
    await store.claim(record)
    attempts = [worker.begin(record) for _ in range(20)]
    with ThreadPoolExecutor(20) as threads:
        firsts = list(
            threads.map(lambda a: worker.finish(a, outcome(ended_at_ms=a.number)), attempts)
        )
    assert sum(firsts) == 1
    winner = attempts[firsts.index(True)]
    job = await store.get(record.id)
    assert job is not None
    assert job.outcome == outcome(ended_at_ms=winner.number)
    assert not progress(worker, attempts[-1], JobState.DECODING)


async def test_same_end_sent_again_is_still_the_first(
    new_store: StoreFactory, worker: WorkerStore
) -> None:
    attempt = worker.begin(new_job())
    assert [worker.finish(attempt, outcome()) for _ in range(2)] == [True, True]
    assert not worker.finish(attempt, outcome(ended_at_ms=2))


async def test_begin_of_an_ended_job_says_so_and_counts_nothing(
    new_store: StoreFactory, worker: WorkerStore
) -> None:
    record = new_job()
    worker.finish(worker.begin(record), outcome())
    again = worker.begin(record)
    assert (again.number, again.state) == (1, JobState.SUCCEEDED)


async def test_wait_returns_the_end_of_a_job(new_store: StoreFactory, worker: WorkerStore) -> None:
    store = await new_store("g1")
    record = new_job()
    await store.claim(record, waited_for=True)
    waiting = asyncio.create_task(store.wait(record.id, timeout_s=WAIT_S))
    attempt = await asyncio.to_thread(worker.begin, record)
    await asyncio.to_thread(progress, worker, attempt, JobState.DECODING)
    assert not waiting.done()
    await asyncio.to_thread(worker.finish, attempt, outcome())
    job = await waiting
    assert (job.state, job.outcome) == (JobState.SUCCEEDED, outcome())
    assert await store.wait(record.id, timeout_s=WAIT_S) == job


async def test_wait_wakes_for_a_job_that_another_gateway_claimed(
    new_store: StoreFactory, worker: WorkerStore
) -> None:
    store, other = await new_store("g1"), await new_store("g2")
    record = new_job()
    await store.claim(record, waited_for=True)
    waits = [
        asyncio.create_task(gateway.wait(record.id, timeout_s=WAIT_S)) for gateway in (store, other)
    ]
    attempt = await asyncio.to_thread(worker.begin, record)
    await asyncio.to_thread(worker.finish, attempt, outcome())
    assert [job.state for job in await asyncio.gather(*waits)] == [JobState.SUCCEEDED] * 2


async def test_wait_gives_up_after_its_timeout(new_store: StoreFactory) -> None:
    store = await new_store("g1")
    record = new_job()
    await store.claim(record, waited_for=True)
    with pytest.raises(TimeoutError):
        await store.wait(record.id, timeout_s=0.05)


async def test_watch_yields_states_in_order_and_ends(
    new_store: StoreFactory, worker: WorkerStore
) -> None:
    store = await new_store("g2")
    record = new_job()
    await store.claim(record)
    seen = []
    attempt: Any = None
    async for job in store.watch(record.id):
        seen.append((job.state, job.attempt_count, job.task_results))
        match job.state, job.attempt_count:
            case JobState.QUEUED, 0:
                attempt = worker.begin(record)
            case JobState.QUEUED, _:
                progress(worker, attempt, JobState.ENCODING)
            case JobState.ENCODING, _:
                progress(worker, attempt, JobState.DECODING, task_results={0: b"r"})
            case JobState.DECODING, _:
                worker.finish(attempt, outcome())
    assert seen == [
        (JobState.QUEUED, 0, ()),
        (JobState.QUEUED, 1, ()),
        (JobState.ENCODING, 1, ()),
        (JobState.DECODING, 1, (b"r",)),
        (JobState.SUCCEEDED, 1, ()),
    ]


async def test_job_cancelled_before_its_begin_ends_at_once(
    new_store: StoreFactory, worker: WorkerStore
) -> None:
    store = await new_store("g1")
    record = new_job()
    await store.claim(record, waited_for=True)
    waiting = asyncio.create_task(store.wait(record.id, timeout_s=WAIT_S))
    await store.request_cancel(record.id)
    await store.request_cancel(record.id)
    job = await waiting
    assert job.outcome is not None
    assert (job.state, job.outcome.state) == (
        JobState.CANCELLED,
        job_pb2.JOB_STATE_CANCELLED,
    )
    assert job.outcome.error.reason == "CANCELLED"
    assert worker.begin(record).state is JobState.CANCELLED


async def test_job_cancelled_while_it_runs_is_ended_by_its_worker(
    new_store: StoreFactory, worker: WorkerStore
) -> None:
    store = await new_store("g1")
    records = [new_job(), new_job()]
    for record in records:
        await store.claim(record)
    attempts = [worker.begin(record) for record in records]
    await store.request_cancel(records[0].id)
    assert worker.cancelled([record.id for record in records]) == {records[0].id}
    assert worker.cancelled([]) == set()
    assert not progress(worker, attempts[0], JobState.DECODING)
    assert progress(worker, attempts[1], JobState.DECODING)
    assert worker.begin(records[0]).cancel_requested
    assert worker.finish(attempts[0], outcome(state=job_pb2.JOB_STATE_CANCELLED))
    await store.request_cancel(records[0].id)
    job = await store.get(records[0].id)
    assert job is not None
    assert job.state is JobState.CANCELLED


async def test_deleted_job_stops_its_worker_and_is_not_begun_again(
    new_store: StoreFactory, worker: WorkerStore
) -> None:
    store = await new_store("g1")
    record = new_job()
    await store.claim(record, waited_for=True)
    attempt = worker.begin(record)
    waiting = asyncio.create_task(store.wait(record.id, timeout_s=WAIT_S))
    await asyncio.sleep(0)
    await store.delete(record.id)
    await store.delete(record.id)
    with pytest.raises(UnknownJobError):
        await waiting
    assert worker.cancelled([record.id]) == {record.id}
    assert not progress(worker, attempt, JobState.DECODING)
    assert not worker.finish(attempt, outcome())
    again = worker.begin(record)
    assert (again.number, again.state) == (0, JobState.CANCELLED)
    assert await store.get(record.id) is None


async def test_blob_comes_back_by_its_digest(new_store: StoreFactory, worker: WorkerStore) -> None:
    store = await new_store("g1")
    content = bytes(range(256)) * 4096
    names = {await store.blobs.put(content, time_to_live_s=60) for _ in range(2)}
    (name,) = names
    assert worker.get_blob(name) == content
    assert worker.get_blob("0" * 64) is None


async def test_ping_answers_and_close_is_idempotent(
    new_store: StoreFactory, worker: WorkerStore
) -> None:
    store = await new_store("g1")
    await store.ping()
    for _ in range(2):
        await store.close()
        worker.close()


def _attempt_on_lost_job(begun: Any, record: JobRecord) -> Any:
    return dataclasses.replace(begun, record=record)
