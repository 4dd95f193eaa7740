"""What is accepted is never lost, and what was refused is never run."""

from __future__ import annotations

import time

import pytest
from arno.api.v1 import types_pb2
from arno.bus.ports import Record
from arno.bus.v1.records_pb2 import JobRecord
from arno.errors import BackendUnavailableError, OverloadedError
from arno.gateway.lifecycle import BackgroundTasks
from arno.gateway.settings import GatewaySettings, RequestLimits
from arno.gateway.submission import (
    Submission,
    Submitter,
    body_digest,
)
from arno.gateway.task_validation import parse_tasks
from arno.gateway.validation import CheckedRequest, check_request
from arno.results.gateway_store import GatewayStore
from arno.vocabulary import Lane
from support import images
from support.builders import new_job
from support.clock import ManualClock
from support.eventually import eventually_async
from support.gateway_calls import caption, infer_request

SETTINGS = GatewaySettings(
    inline_image_bytes_max=100_000,
    blob_time_to_live_s=60,
    publish_timeout_s=5,
)


class LatePublisher:
    """Keeps records, and says that it could not send them: a lost acknowledgement."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def publish(self, record: Record, *, timeout_s: float) -> None:
        self.records.append(record)
        raise BackendUnavailableError("no acknowledgement")


def made(arno, publisher, store: GatewayStore | None = None, **options: object) -> Submitter:
    return Submitter(
        store=store or arno.store,
        publisher=publisher,
        settings=SETTINGS,
        background=BackgroundTasks(),
        **options,
    )


def checked(content: bytes, *tasks: types_pb2.TaskSpec) -> CheckedRequest:
    limits = RequestLimits()
    return check_request(content, parse_tasks(tasks, limits=limits), limits=limits)


def submission(**fields: object) -> Submission:
    request = checked(images.png(), caption())
    return Submission(request, tenant="default", lane=Lane.INTERACTIVE, work_s=30, **fields)


async def test_job_of_a_gateway_that_died_before_publishing_is_published_by_the_retry(arno, worker):
    lost = new_job(tenant="default")
    sha256 = body_digest(submission().request)
    await arno.store.claim(lost, idempotency_key="k", body_sha256=sha256)
    response = await arno.vision.Infer(infer_request(idempotency_key="k"), timeout=20)
    assert response.job_id == lost.id
    assert response.results[0].HasField("answer")


async def test_refused_job_without_a_key_is_not_begun_should_its_record_arrive(arno, worker):
    late = LatePublisher()
    submitter = made(arno, late)
    with pytest.raises(BackendUnavailableError):
        await submitter.submit(submission())
    publisher = arno.publisher
    await publisher.publish(late.records[0], timeout_s=10)

    async def delivered():
        return worker.deliveries

    await eventually_async(delivered)
    assert worker.taken == []


async def test_nothing_is_kept_of_a_job_that_the_bus_had_no_room_for(arno):
    class FullPublisher:
        async def publish(self, record: Record, *, timeout_s: float) -> None:
            ids.append(JobRecord.FromString(record.value).id)
            raise OverloadedError("the bus is full")

    ids: list[str] = []
    submitter = made(arno, FullPublisher())
    with pytest.raises(OverloadedError):
        await submitter.submit(submission())
    assert await arno.store.get(ids[0]) is None


async def test_refused_job_with_a_key_keeps_it_for_the_retry(arno, worker):
    late = LatePublisher()
    submitter = made(arno, late)
    with pytest.raises(BackendUnavailableError):
        await submitter.submit(submission(idempotency_key="k"))
    retry = Submitter(
        store=arno.store,
        publisher=arno.publisher,
        settings=SETTINGS,
        background=BackgroundTasks(),
    )
    job = await retry.submit(submission(idempotency_key="k"))
    await arno.publisher.publish(late.records[0], timeout_s=10)

    async def both_delivered():
        return len(worker.deliveries) == 2

    await eventually_async(both_delivered)
    assert {record.id for record in worker.taken} == {job.job_id}
    assert len(worker.taken) == 1


async def test_key_that_nobody_began_before_its_deadline_is_taken_over(arno, worker):
    # Its 30 s ended a second ago; the store still knows it.
    claimed_at_ms = time.time_ns() // 1_000_000 - 31_000
    clock = ManualClock(wall_ms=claimed_at_ms)
    store = GatewayStore(arno.settings, gateway="late", clock=clock)
    with pytest.raises(BackendUnavailableError):
        await made(arno, LatePublisher(), store).submit(submission(idempotency_key="k"))
    await store.close()
    response = await arno.vision.Infer(infer_request(idempotency_key="k"), timeout=20)
    assert response.results[0].HasField("answer")
    (record,) = worker.taken
    assert record.deadline_at_ms > claimed_at_ms + 31_000


def test_digest_of_a_body_depends_on_image_and_tasks_only():
    def digest(content: bytes, *tasks: types_pb2.TaskSpec) -> str:
        return body_digest(checked(content, *tasks))

    plain = digest(images.png(), caption())
    assert digest(images.png(), caption()) == plain
    assert digest(images.png(), caption(id="0")) == plain  # the default id, spelled out
    assert digest(images.jpeg(), caption()) != plain
    assert digest(images.png(), caption(), caption()) != plain
