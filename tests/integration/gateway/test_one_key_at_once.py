"""Calls with one idempotency key at the same moment: one publishes, the others follow it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
import redis
from arno.api.v1 import job_pb2, types_pb2
from arno.bus.ports import Record
from arno.errors import BackendUnavailableError
from arno.gateway.lifecycle import BackgroundTasks
from arno.gateway.settings import GatewaySettings, RequestLimits
from arno.gateway.submission import Submission, Submitter
from arno.gateway.task_validation import parse_tasks
from arno.gateway.validation import CheckedRequest, check_request
from arno.vocabulary import Lane
from support import images
from support.eventually import eventually_async
from support.gateway_calls import caption, infer_request
from support.stand_in_worker import StandInWorker

pytestmark = pytest.mark.redis

SETTINGS = GatewaySettings(
    inline_image_bytes_max=100_000,
    blob_time_to_live_s=60,
    publish_timeout_s=60,
)


class HeldPublisher:
    """Ends a publication when the test says how."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.ends: list[asyncio.Future[None]] = []

    async def publish(self, record: Record, *, timeout_s: float) -> None:
        self.records.append(record)
        self.ends.append(asyncio.get_running_loop().create_future())
        await self.ends[-1]

    async def begun(self, count: int) -> None:
        async def enough() -> bool:
            return len(self.records) >= count

        await eventually_async(enough, what=f"{count} publications")


def checked(content: bytes, *tasks: types_pb2.TaskSpec) -> CheckedRequest:
    limits = RequestLimits()
    return check_request(content, parse_tasks(tasks, limits=limits), limits=limits)


def submission(**fields: object) -> Submission:
    request = checked(images.png(), caption())
    return Submission(request, tenant="default", lane=Lane.INTERACTIVE, work_s=30, **fields)


@pytest.fixture
def publisher() -> HeldPublisher:
    return HeldPublisher()


@pytest.fixture
def background() -> BackgroundTasks:
    return BackgroundTasks()


@pytest.fixture
def submitter(arno, publisher, background) -> Submitter:
    return Submitter(
        store=arno.store, publisher=publisher, settings=SETTINGS, background=background
    )


async def looks(store, monkeypatch, count: int) -> None:
    """Return when followers have looked so often."""
    seen, get = [], store.get

    async def counted(job_id: str):
        seen.append(job_id)
        return await get(job_id)

    monkeypatch.setattr(store, "get", counted)

    async def enough() -> bool:
        return len(seen) >= count

    await eventually_async(enough, what=f"{count} looks")


async def test_sixty_calls_on_two_gateways_make_one_record(gateway_settings, running_gateway):
    settings = gateway_settings()
    async with running_gateway(settings) as one, running_gateway(settings, "two") as two:
        request = job_pb2.SubmitJobRequest(
            image=types_pb2.Image(content=images.png()), tasks=[caption()], idempotency_key="k"
        )
        submitted = await asyncio.gather(
            *((one, two)[n % 2].jobs.SubmitJob(request, timeout=60) for n in range(60))
        )
        (job_id,) = {answer.job.id for answer in submitted}
        unfinished = await one.publisher.unfinished()
        assert unfinished[Lane.BATCH] == 1
        with StandInWorker(settings) as worker:
            asked = [
                (one, two)[n % 2].vision.Infer(infer_request(idempotency_key="i"), timeout=60)
                for n in range(60)
            ]
            assert len({answer.job_id for answer in await asyncio.gather(*asked)}) == 1

            async def all_done() -> bool:
                return not any((await one.publisher.unfinished()).values())

            await eventually_async(all_done)
            assert len(worker.deliveries) == 2
            assert {record.id for record in worker.taken} >= {job_id}


async def test_follower_waits_for_the_record_of_the_first(arno, publisher, submitter, monkeypatch):
    first = asyncio.create_task(submitter.submit(submission(idempotency_key="k")))
    await publisher.begun(1)
    followers = [
        asyncio.create_task(submitter.submit(submission(idempotency_key="k"))) for _ in range(5)
    ]
    await looks(arno.store, monkeypatch, 10)
    assert not any(task.done() for task in (first, *followers))
    publisher.ends[0].set_result(None)
    jobs = await asyncio.gather(first, *followers)
    assert len({job.job_id for job in jobs}) == 1
    assert len(publisher.records) == 1


async def test_follower_takes_the_turn_of_a_publication_that_failed(publisher, submitter):
    first = asyncio.create_task(submitter.submit(submission(idempotency_key="k")))
    await publisher.begun(1)
    follower = asyncio.create_task(submitter.submit(submission(idempotency_key="k")))
    publisher.ends[0].set_exception(BackendUnavailableError("no acknowledgement"))
    with pytest.raises(BackendUnavailableError):
        await first
    await publisher.begun(2)
    publisher.ends[1].set_result(None)
    await follower
    assert len(publisher.records) == 2


async def test_follower_takes_the_turn_of_a_caller_that_left(publisher, submitter):
    first = asyncio.create_task(submitter.submit(submission(idempotency_key="k")))
    await publisher.begun(1)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    follower = asyncio.create_task(submitter.submit(submission(idempotency_key="k")))
    await publisher.begun(2)
    publisher.ends[1].set_result(None)
    await follower


class SlowClaim:
    """A store whose claims are made, and answered when the test says."""

    def __init__(self, store, monkeypatch) -> None:
        self.made, self.answered = asyncio.Event(), asyncio.Event()
        claim = store.claim

        async def slow(record, **options):
            holder = await claim(record, **options)
            self.made.set()
            await self.answered.wait()
            return holder

        monkeypatch.setattr(store, "claim", slow)

    async def leave_meanwhile(self, call: asyncio.Task) -> None:
        await self.made.wait()
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        self.answered.set()


async def test_caller_that_leaves_during_the_claim_leaves_no_job(
    arno, submitter, background, monkeypatch
):
    slow = SlowClaim(arno.store, monkeypatch)
    await slow.leave_meanwhile(asyncio.create_task(submitter.submit(submission())))
    await background.close()
    with redis.Redis.from_url(arno.settings.redis_url) as raw:
        assert list(raw.scan_iter(f"{arno.settings.redis_key_prefix}:job:*")) == []
        assert list(raw.scan_iter(f"{arno.settings.redis_key_prefix}:watchers:*")) == []


async def test_caller_that_leaves_during_the_claim_of_a_key_leaves_the_turn(
    arno, publisher, submitter, background, monkeypatch
):
    slow = SlowClaim(arno.store, monkeypatch)
    await slow.leave_meanwhile(
        asyncio.create_task(submitter.submit(submission(idempotency_key="k")))
    )
    await background.close()
    retry = asyncio.create_task(submitter.submit(submission(idempotency_key="k")))
    await publisher.begun(1)
    publisher.ends[0].set_result(None)
    await retry


async def test_job_that_was_accepted_is_answered_though_the_store_has_gone(arno, monkeypatch):
    async def gone(job_id: str):
        raise BackendUnavailableError("the result store could not be asked", backend="redis")

    monkeypatch.setattr(arno.store, "get", gone)
    request = job_pb2.SubmitJobRequest(
        image=types_pb2.Image(content=images.png()), tasks=[caption()]
    )
    job = (await arno.jobs.SubmitJob(request, timeout=20)).job
    assert job.state == job_pb2.JOB_STATE_QUEUED
    assert job.expire_time.seconds - job.submit_time.seconds == 24 * 3600
    monkeypatch.undo()
    found = (await arno.jobs.GetJob(job_pb2.GetJobRequest(job_id=job.id), timeout=20)).job
    assert found == job
