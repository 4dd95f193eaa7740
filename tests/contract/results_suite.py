"""What every result store must do, whatever stands behind the ports."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from arno.api.v1 import job_pb2
from arno.bus.v1.records_pb2 import JobOutcome
from arno.errors import IdempotencyConflictError, UnknownJobError
from arno.results.ports import JobClaim, JobOrigin, JobState, JobStore, ResultWriter

StoreFactory = Callable[..., Awaitable[Any]]
WAIT_S = 60.0


def new_claim(**changed: Any) -> JobClaim:
    now_ms = time.time_ns() // 1_000_000
    values: dict[str, Any] = {
        "job_id": uuid.uuid4().hex,
        "tenant": "acme",
        "lane": "interactive",
        "submitted_at_ms": now_ms,
        "deadline_at_ms": now_ms + 60_000,
        "time_to_live_s": 600,
        "idempotency_key": "",
        "body_sha256": "a" * 64,
        "watcher": "g1",
    }
    return JobClaim(**{**values, **changed})


def origin_of(claim: JobClaim) -> JobOrigin:
    return JobOrigin(
        claim.job_id,
        claim.tenant,
        claim.submitted_at_ms,
        claim.deadline_at_ms,
        claim.time_to_live_s,
    )


def outcome(ended_at_ms: int = 1, state: Any = job_pb2.JOB_STATE_SUCCEEDED) -> JobOutcome:
    return JobOutcome(state=state, ended_at_ms=ended_at_ms)


def progress(writer: ResultWriter, attempt: Any, state: JobState, **changed: Any) -> bool:
    values: dict[str, Any] = {"decoded_token_count": 0, "task_results": {}}
    return writer.progress(attempt, state, **{**values, **changed})


class ResultsSuite:
    """Rules of both ports; a configuration gives the fixtures ``new_store`` and ``writer``."""

    async def test_claimed_job_is_queued(self, new_store: StoreFactory) -> None:
        store: JobStore = await new_store("g1")
        claim = new_claim()
        assert await store.claim(claim) == claim.job_id
        job = await store.get(claim.job_id)
        assert job is not None
        assert (job.state, job.tenant, job.attempt_count) == (JobState.QUEUED, "acme", 0)
        assert (job.submitted_at_ms, job.deadline_at_ms) == (
            claim.submitted_at_ms,
            claim.deadline_at_ms,
        )
        assert (job.outcome, job.task_results, job.cancel_requested) == (None, (), False)

    async def test_unknown_job_is_none_to_get_and_an_error_to_wait_and_watch(
        self, new_store: StoreFactory
    ) -> None:
        store: JobStore = await new_store("g1")
        assert await store.get("nobody") is None
        with pytest.raises(UnknownJobError):
            await store.wait("nobody", timeout_s=WAIT_S)
        with pytest.raises(UnknownJobError):
            await anext(store.watch("nobody"))
        await store.request_cancel("nobody")
        await store.delete("nobody")

    async def test_same_idempotency_key_and_body_is_the_same_job(
        self, new_store: StoreFactory
    ) -> None:
        store: JobStore = await new_store("g1")
        first = new_claim(idempotency_key="k")
        again = new_claim(idempotency_key="k")
        assert await store.claim(first) == first.job_id
        assert await store.claim(first) == first.job_id
        assert await store.claim(again) == first.job_id
        assert await store.get(again.job_id) is None

    async def test_same_idempotency_key_with_another_body_is_a_conflict(
        self, new_store: StoreFactory
    ) -> None:
        store: JobStore = await new_store("g1")
        first = new_claim(idempotency_key="k")
        await store.claim(first)
        with pytest.raises(IdempotencyConflictError, match=first.job_id):
            await store.claim(new_claim(idempotency_key="k", body_sha256="b" * 64))

    async def test_idempotency_keys_belong_to_their_tenant(self, new_store: StoreFactory) -> None:
        store: JobStore = await new_store("g1")
        claims = [
            new_claim(tenant="a", idempotency_key="b:c"),
            new_claim(tenant="a:b", idempotency_key="c"),
            new_claim(tenant="a%3Ab", idempotency_key="c"),
        ]
        assert [await store.claim(claim) for claim in claims] == [c.job_id for c in claims]

    async def test_fifty_claims_at_once_with_one_key_make_one_job(
        self, new_store: StoreFactory
    ) -> None:
        stores: list[JobStore] = [await new_store("g1"), await new_store("g2")]
        claims = [new_claim(idempotency_key="k") for _ in range(50)]
        ids = await asyncio.gather(
            *(stores[index % 2].claim(claim) for index, claim in enumerate(claims))
        )
        assert len(set(ids)) == 1
        found = [claim for claim in claims if await stores[0].get(claim.job_id)]
        assert [claim.job_id for claim in found] == [ids[0]]

    async def test_only_a_job_that_is_known_is_noted_as_published(
        self, new_store: StoreFactory
    ) -> None:
        store: JobStore = await new_store("g1")
        noted, deleted = new_claim(), new_claim()
        for claim in (noted, deleted):
            await store.claim(claim)
        before = await store.get(noted.job_id)
        await store.delete(deleted.job_id)
        for job_id in (noted.job_id, deleted.job_id, "nobody"):
            await store.note_published(job_id)
        after = await store.get(noted.job_id)
        assert before is not None
        assert after is not None
        assert (before.published, after.published) == (False, True)
        assert await store.get(deleted.job_id) is None
        assert await store.get("nobody") is None

    async def test_released_job_frees_its_key_and_is_not_begun(
        self, new_store: StoreFactory, writer: ResultWriter
    ) -> None:
        store: JobStore = await new_store("g1")
        claim, again = new_claim(idempotency_key="k"), new_claim(idempotency_key="k")
        await store.claim(claim)
        await store.release(claim.job_id)
        assert await store.get(claim.job_id) is None
        assert writer.begin(origin_of(claim)).state is JobState.CANCELLED
        assert await store.claim(again) == again.job_id

    async def test_begin_counts_attempts(
        self, new_store: StoreFactory, writer: ResultWriter
    ) -> None:
        store: JobStore = await new_store("g1")
        claim = new_claim()
        await store.claim(claim)
        numbers = [writer.begin(origin_of(claim)).number for _ in range(3)]
        assert numbers == [1, 2, 3]
        job = await store.get(claim.job_id)
        assert job is not None
        assert job.attempt_count == 3

    async def test_lost_job_is_created_anew_by_each_of_the_workers_calls(
        self, new_store: StoreFactory, writer: ResultWriter
    ) -> None:
        store: JobStore = await new_store("g1")
        begun = writer.begin(origin_of(new_claim()))
        lost = [new_claim(), new_claim()]
        attempts = [_attempt_on_lost_job(begun, claim) for claim in lost]
        assert progress(writer, attempts[0], JobState.DECODING, task_results={0: b"r"})
        assert writer.finish(attempts[1], outcome())
        jobs = [await store.get(job_id) for job_id in (begun.job_id, *(c.job_id for c in lost))]
        states = [job.state for job in jobs if job is not None]
        assert states == [JobState.QUEUED, JobState.DECODING, JobState.SUCCEEDED]
        assert [job.tenant for job in jobs if job is not None] == ["acme"] * 3
        assert [job.attempt_count for job in jobs if job is not None] == [1, 1, 1]

    async def test_progress_moves_only_forward_and_keeps_results_in_order(
        self, new_store: StoreFactory, writer: ResultWriter
    ) -> None:
        store: JobStore = await new_store("g1")
        claim = new_claim()
        await store.claim(claim)
        attempt = writer.begin(origin_of(claim))
        results = {10: b"ten", 2: b"two\x00\xff"}
        assert progress(
            writer, attempt, JobState.DECODING, task_results=results, decoded_token_count=7
        )
        assert progress(
            writer, attempt, JobState.ENCODING, task_results={0: b"zero"}, decoded_token_count=9
        )
        job = await store.get(claim.job_id)
        assert job is not None
        assert (job.state, job.decoded_token_count) == (JobState.DECODING, 9)
        assert job.task_results == (b"zero", b"two\x00\xff", b"ten")

    async def test_stale_attempt_may_not_write_progress(
        self, new_store: StoreFactory, writer: ResultWriter
    ) -> None:
        store: JobStore = await new_store("g1")
        claim = new_claim()
        await store.claim(claim)
        stale = writer.begin(origin_of(claim))
        assert progress(writer, stale, JobState.ENCODING, task_results={0: b"stale"})
        newest = writer.begin(origin_of(claim))
        assert not progress(writer, stale, JobState.DECODING, task_results={0: b"stale"})
        job = await store.get(claim.job_id)
        assert job is not None
        assert (job.state, job.task_results) == (JobState.ENCODING, ())
        assert progress(writer, newest, JobState.DECODING, task_results={0: b"newest"})
        job = await store.get(claim.job_id)
        assert job is not None
        assert job.task_results == (b"newest",)

    async def test_first_end_wins_over_twenty_racing_writers(
        self, new_store: StoreFactory, writer: ResultWriter
    ) -> None:
        store: JobStore = await new_store("g1")
        claim = new_claim()
        await store.claim(claim)
        attempts = [writer.begin(origin_of(claim)) for _ in range(20)]
        with ThreadPoolExecutor(20) as threads:
            firsts = list(
                threads.map(lambda a: writer.finish(a, outcome(ended_at_ms=a.number)), attempts)
            )
        assert sum(firsts) == 1
        winner = attempts[firsts.index(True)]
        job = await store.get(claim.job_id)
        assert job is not None
        assert job.outcome == outcome(ended_at_ms=winner.number)
        assert not progress(writer, attempts[-1], JobState.DECODING)

    async def test_same_end_sent_again_is_still_the_first(
        self, new_store: StoreFactory, writer: ResultWriter
    ) -> None:
        attempt = writer.begin(origin_of(new_claim()))
        assert [writer.finish(attempt, outcome()) for _ in range(2)] == [True, True]
        assert not writer.finish(attempt, outcome(ended_at_ms=2))

    async def test_begin_of_an_ended_job_says_so_and_counts_nothing(
        self, new_store: StoreFactory, writer: ResultWriter
    ) -> None:
        origin = origin_of(new_claim())
        writer.finish(writer.begin(origin), outcome())
        again = writer.begin(origin)
        assert (again.number, again.state) == (1, JobState.SUCCEEDED)

    async def test_wait_returns_the_end_of_a_job(
        self, new_store: StoreFactory, writer: ResultWriter
    ) -> None:
        store: JobStore = await new_store("g1")
        claim = new_claim()
        await store.claim(claim)
        waiting = asyncio.create_task(store.wait(claim.job_id, timeout_s=WAIT_S))
        attempt = await asyncio.to_thread(writer.begin, origin_of(claim))
        await asyncio.to_thread(progress, writer, attempt, JobState.DECODING)
        assert not waiting.done()
        await asyncio.to_thread(writer.finish, attempt, outcome())
        job = await waiting
        assert (job.state, job.outcome) == (JobState.SUCCEEDED, outcome())
        assert await store.wait(claim.job_id, timeout_s=WAIT_S) == job

    async def test_wait_wakes_for_a_job_that_another_gateway_claimed(
        self, new_store: StoreFactory, writer: ResultWriter
    ) -> None:
        store, other = await new_store("g1"), await new_store("g2")
        claim = new_claim(watcher="g1")
        await store.claim(claim)
        waits = [
            asyncio.create_task(gateway.wait(claim.job_id, timeout_s=WAIT_S))
            for gateway in (store, other)
        ]
        attempt = await asyncio.to_thread(writer.begin, origin_of(claim))
        await asyncio.to_thread(writer.finish, attempt, outcome())
        assert [job.state for job in await asyncio.gather(*waits)] == [JobState.SUCCEEDED] * 2

    async def test_wait_gives_up_after_its_timeout(self, new_store: StoreFactory) -> None:
        store: JobStore = await new_store("g1")
        claim = new_claim()
        await store.claim(claim)
        with pytest.raises(TimeoutError):
            await store.wait(claim.job_id, timeout_s=0.05)

    async def test_watch_yields_states_in_order_and_ends(
        self, new_store: StoreFactory, writer: ResultWriter
    ) -> None:
        store: JobStore = await new_store("g2")
        claim = new_claim(watcher="g1")
        await store.claim(claim)
        seen = []
        attempt: Any = None
        async for job in store.watch(claim.job_id):
            seen.append((job.state, job.attempt_count, job.task_results))
            match job.state, job.attempt_count:
                case JobState.QUEUED, 0:
                    attempt = writer.begin(origin_of(claim))
                case JobState.QUEUED, _:
                    progress(writer, attempt, JobState.ENCODING)
                case JobState.ENCODING, _:
                    progress(writer, attempt, JobState.DECODING, task_results={0: b"r"})
                case JobState.DECODING, _:
                    writer.finish(attempt, outcome())
        assert seen == [
            (JobState.QUEUED, 0, ()),
            (JobState.QUEUED, 1, ()),
            (JobState.ENCODING, 1, ()),
            (JobState.DECODING, 1, (b"r",)),
            (JobState.SUCCEEDED, 1, ()),
        ]

    async def test_job_cancelled_before_its_begin_ends_at_once(
        self, new_store: StoreFactory, writer: ResultWriter
    ) -> None:
        store: JobStore = await new_store("g1")
        claim = new_claim()
        await store.claim(claim)
        waiting = asyncio.create_task(store.wait(claim.job_id, timeout_s=WAIT_S))
        await store.request_cancel(claim.job_id)
        await store.request_cancel(claim.job_id)
        job = await waiting
        assert job.outcome is not None
        assert (job.state, job.outcome.state) == (
            JobState.CANCELLED,
            job_pb2.JOB_STATE_CANCELLED,
        )
        assert job.outcome.error.reason == "CANCELLED"
        assert writer.begin(origin_of(claim)).state is JobState.CANCELLED

    async def test_job_cancelled_while_it_runs_is_ended_by_its_worker(
        self, new_store: StoreFactory, writer: ResultWriter
    ) -> None:
        store: JobStore = await new_store("g1")
        claims = [new_claim(), new_claim()]
        for claim in claims:
            await store.claim(claim)
        attempts = [writer.begin(origin_of(claim)) for claim in claims]
        await store.request_cancel(claims[0].job_id)
        assert writer.cancelled([claim.job_id for claim in claims]) == {claims[0].job_id}
        assert writer.cancelled([]) == set()
        assert not progress(writer, attempts[0], JobState.DECODING)
        assert progress(writer, attempts[1], JobState.DECODING)
        assert writer.begin(origin_of(claims[0])).cancel_requested
        assert writer.finish(attempts[0], outcome(state=job_pb2.JOB_STATE_CANCELLED))
        await store.request_cancel(claims[0].job_id)
        job = await store.get(claims[0].job_id)
        assert job is not None
        assert job.state is JobState.CANCELLED

    async def test_deleted_job_stops_its_worker_and_is_not_begun_again(
        self, new_store: StoreFactory, writer: ResultWriter
    ) -> None:
        store: JobStore = await new_store("g1")
        claim = new_claim()
        await store.claim(claim)
        attempt = writer.begin(origin_of(claim))
        waiting = asyncio.create_task(store.wait(claim.job_id, timeout_s=WAIT_S))
        await asyncio.sleep(0)
        await store.delete(claim.job_id)
        await store.delete(claim.job_id)
        with pytest.raises(UnknownJobError):
            await waiting
        assert writer.cancelled([claim.job_id]) == {claim.job_id}
        assert not progress(writer, attempt, JobState.DECODING)
        assert not writer.finish(attempt, outcome())
        again = writer.begin(origin_of(claim))
        assert (again.number, again.state) == (0, JobState.CANCELLED)
        assert await store.get(claim.job_id) is None

    async def test_blob_comes_back_by_its_digest(
        self, new_store: StoreFactory, writer: ResultWriter
    ) -> None:
        store: JobStore = await new_store("g1")
        content = bytes(range(256)) * 4096
        names = {await store.put_blob(content, time_to_live_s=60) for _ in range(2)}
        (name,) = names
        assert writer.get_blob(name) == content
        assert writer.get_blob("0" * 64) is None

    async def test_ping_answers_and_close_is_idempotent(
        self, new_store: StoreFactory, writer: ResultWriter
    ) -> None:
        store: JobStore = await new_store("g1")
        await store.ping()
        writer.ping()
        for _ in range(2):
            await store.close()
            writer.close()


def _attempt_on_lost_job(begun: Any, claim: JobClaim) -> Any:
    return dataclasses.replace(begun, origin=origin_of(claim))
