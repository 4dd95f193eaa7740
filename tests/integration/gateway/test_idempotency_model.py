"""Submission with idempotency keys against a model: any order of calls, losses, ends and leavings.

The model is what ``arno.gateway.idempotency`` and ``docs/`` promise, in plain Python, over the real
scripts of the store. Publications end as the rules say; a worker's side of the store takes records.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from arno.api.v1 import job_pb2, types_pb2
from arno.bus.ports import Record
from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.errors import BackendUnavailableError, IdempotencyConflictError
from arno.gateway.lifecycle import BackgroundTasks
from arno.gateway.settings import GatewaySettings
from arno.gateway.submission import Submission, Submitter
from arno.gateway.task_validation import parse_tasks
from arno.gateway.validation import check_request
from arno.results.gateway_store import GatewayStore
from arno.results.jobs import Attempt, JobSnapshot
from arno.results.worker_store import WorkerStore
from arno.vocabulary import Lane
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support import images
from support.eventually import eventually_async
from support.gateway_calls import caption

pytestmark = pytest.mark.redis

LIMITS: Final = GatewaySettings()
BODIES: Final = [
    check_request(images.png(), parse_tasks([caption()] * count, limits=LIMITS), limits=LIMITS)
    for count in (1, 2)
]
FOLLOWERS_MAX: Final = 2


@dataclass(slots=True, eq=False)
class ModelJob:
    """The job that a key stands for, as the model holds it."""

    id: str
    key: str
    body: int
    acknowledged: bool = False
    publishing: bool = True
    attempt: Attempt | None = None
    replaceable: bool = False
    gone: bool = False
    followers: list[asyncio.Task[JobSnapshot]] = field(default_factory=list)

    @property
    def on_its_way(self) -> bool:
        """Whether a call need not publish it."""
        return self.acknowledged or self.attempt is not None


@dataclass(slots=True, eq=False)
class Publication:
    """A record that a call is putting on the bus."""

    record: JobRecord
    end: asyncio.Future[None]
    call: asyncio.Task[JobSnapshot] | None = None
    job: ModelJob | None = None


class HeldBus:
    """Holds every publication until the machine ends it."""

    def __init__(self) -> None:
        self.begun: list[Publication] = []

    async def publish(self, record: Record, *, timeout_s: float) -> None:
        end = asyncio.get_running_loop().create_future()
        self.begun.append(Publication(JobRecord.FromString(record.value), end))
        await end


@dataclass(frozen=True, slots=True)
class Servers:
    """The real store, its worker's side, and the loop that all calls run in."""

    runner: asyncio.Runner
    settings: GatewaySettings
    store: GatewayStore
    worker: WorkerStore


@pytest.fixture
def servers(gateway_settings: Callable[..., GatewaySettings]) -> Iterator[Servers]:
    settings = gateway_settings(publish_timeout_s=600)
    worker = WorkerStore(settings)
    with asyncio.Runner() as runner:
        store = GatewayStore(settings, gateway="one")
        runner.run(store.start())
        yield Servers(runner, settings, store, worker)
        runner.run(store.close())
    worker.close()


class Submissions(RuleBasedStateMachine):
    """Calls of one tenant with two keys and two bodies."""

    keys = st.sampled_from(["k", "l"])
    bodies = st.sampled_from([0, 0, 0, 1])
    indexes = st.integers(0, 99)

    _numbers = itertools.count(1)

    def __init__(self, servers: Servers) -> None:
        super().__init__()
        self._servers = servers
        self._tenant = f"tenant-{next(self._numbers)}"
        self._bus = HeldBus()
        self._background = BackgroundTasks()
        self._submitter = Submitter(
            store=servers.store,
            publisher=self._bus,
            settings=servers.settings,
            background=self._background,
        )
        self._jobs: dict[str, ModelJob] = {}
        self._open: list[Publication] = []
        self._on_bus: list[tuple[JobRecord, ModelJob]] = []
        self._acknowledged_ids: list[str] = []
        self._seen_count = 0

    @rule(key=keys, body=bodies)
    def call(self, key: str, body: int) -> None:
        job = self._jobs.get(key)
        if job is not None and len(job.followers) >= FOLLOWERS_MAX:
            return
        call = self._run(self._begin_call(key, body))
        if job is not None and job.body != body:
            with pytest.raises(IdempotencyConflictError):
                self._result(call)
        elif job is None or job.replaceable:
            if job is not None:
                job.gone = True
            self._expect_publication(call, key, body)
        elif job.on_its_way:
            assert self._result(call).job_id == job.id
        elif job.publishing:
            job.followers.append(call)
        else:
            self._expect_publication(call, key, body, again=job)

    @precondition(lambda self: self._open)
    @rule(index=indexes, end=st.sampled_from(["ack", "ack", "lost ack", "rejected", "left"]))
    def end_publication(self, index: int, end: str) -> None:
        publication = self._open.pop(index % len(self._open))
        job, call = publication.job, publication.call
        assert job is not None
        assert call is not None
        job.publishing = False
        if end in {"ack", "lost ack"}:
            self._on_bus.append((publication.record, job))
        if end == "ack":
            publication.end.set_result(None)
            assert self._result(call).job_id == job.id
            job.acknowledged = True
            self._acknowledged_ids.append(job.id)
            self._release_followers(job)
            return
        if end == "left":
            call.cancel()
            with suppress(asyncio.CancelledError):
                self._result(call)
        else:
            publication.end.set_exception(BackendUnavailableError("no acknowledgement"))
            with pytest.raises(BackendUnavailableError):
                self._result(call)
        if job.followers:
            self._expect_publication(None, job.key, job.body, again=job)

    @precondition(lambda self: self._on_bus)
    @rule(index=indexes)
    def deliver(self, index: int) -> None:
        record, job = self._on_bus.pop(index % len(self._on_bus))
        if job.attempt is not None:
            return
        attempt = self._servers.worker.begin(record)
        assert attempt.begun == (not job.gone and not job.replaceable)
        if attempt.begun:
            job.attempt = attempt
            self._release_followers(job)

    @rule(key=keys, end=st.sampled_from(["SUCCEEDED", "FAILED", "RETRYABLE"]))
    def finish(self, key: str, end: str) -> None:
        job = self._jobs.get(key)
        if job is None or job.attempt is None or job.replaceable:
            return
        state = "SUCCEEDED" if end == "SUCCEEDED" else "FAILED"
        outcome = JobOutcome(
            state=job_pb2.JobState.Value(f"JOB_STATE_{state}"),
            ended_at_ms=time.time_ns() // 1_000_000,
        )
        if state == "FAILED":
            outcome.error.CopyFrom(types_pb2.Error(reason="X", retryable=end == "RETRYABLE"))
        first = self._servers.worker.finish(job.attempt, outcome)
        if first:
            job.replaceable = end == "RETRYABLE"

    @rule(key=keys)
    def cancel(self, key: str) -> None:
        job = self._jobs.get(key)
        if job is None or job.attempt is not None or job.followers:
            return
        self._run(self._servers.store.request_cancel(job.id))
        job.replaceable = True

    @rule(key=keys)
    def delete(self, key: str) -> None:
        job = self._jobs.get(key)
        if job is None or job.followers:
            return
        self._run(self._servers.store.delete(job.id))
        job.gone = True
        del self._jobs[key]

    @invariant()
    def nothing_is_published_that_the_model_did_not_expect(self) -> None:
        assert len(self._bus.begun) == self._seen_count

    @invariant()
    def no_job_is_acknowledged_twice(self) -> None:
        assert len(set(self._acknowledged_ids)) == len(self._acknowledged_ids)

    def teardown(self) -> None:
        self._run(self._leave_all())

    async def _leave_all(self) -> None:
        calls = [each.call for each in self._open if each.call is not None]
        calls += [call for job in self._jobs.values() for call in job.followers]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self._background.close()

    async def _begin_call(self, key: str, body: int) -> asyncio.Task[JobSnapshot]:
        submission = Submission(
            BODIES[body],
            tenant=self._tenant,
            lane=Lane.INTERACTIVE,
            work_s=600,
            idempotency_key=key,
            waited_for=False,
        )
        return asyncio.create_task(self._submitter.submit(submission))

    def _expect_publication(
        self,
        call: asyncio.Task[JobSnapshot] | None,
        key: str,
        body: int,
        *,
        again: ModelJob | None = None,
    ) -> None:
        """Wait for a publication: of a new job, or ``again`` of one, by whichever follower."""
        self._run(self._until(lambda: len(self._bus.begun) > self._seen_count))
        publication = self._bus.begun[self._seen_count]
        self._seen_count += 1
        if again is None:
            assert publication.record.id not in {job.id for _, job in self._on_bus}
            job = self._jobs[key] = ModelJob(publication.record.id, key, body)
        else:
            assert publication.record.id == again.id
            job, again.publishing = again, True
        publication.job = job
        publication.call = call if call is not None else self._publisher_among(job)
        self._open.append(publication)

    def _publisher_among(self, job: ModelJob) -> asyncio.Task[JobSnapshot]:
        """Return the follower that publishes now: the one that the bus's future holds up."""
        (found,) = [call for call in job.followers if _waits_for_the_bus(call)]
        job.followers.remove(found)
        return found

    def _release_followers(self, job: ModelJob) -> None:
        for call in job.followers:
            assert self._result(call).job_id == job.id
        job.followers.clear()

    def _result(self, call: asyncio.Task[JobSnapshot]) -> JobSnapshot:
        self._run(self._until(call.done))
        return call.result()

    async def _until(self, condition: Callable[[], bool]) -> None:
        async def holds() -> bool:
            return condition()

        await eventually_async(holds, timeout_s=10, interval_s=0.001)

    def _run(self, work: Any) -> Any:
        return self._servers.runner.run(work)


def _waits_for_the_bus(call: asyncio.Task[JobSnapshot]) -> bool:
    awaited: Any = call.get_coro()
    while (inner := getattr(awaited, "cr_await", None)) is not None:
        if getattr(awaited, "__qualname__", "") == "HeldBus.publish":
            return True
        awaited = inner
    return False


def test_any_order_of_calls_with_keys_agrees_with_the_model(servers: Servers) -> None:
    run_state_machine_as_test(
        lambda: Submissions(servers),
        settings=hypothesis_settings(max_examples=20, stateful_step_count=25, deadline=None),
    )
