"""Turns of publication: one call publishes a job, and cleans up where it fails or leaves."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from arno.bus.v1.records_pb2 import JobRecord
from arno.errors import BackendUnavailableError, LimitExceededError
from arno.gateway.idempotency import Claim, OncePublisher
from arno.gateway.lifecycle import BackgroundTasks
from arno.results.jobs import JobSnapshot
from arno.vocabulary import JobState
from support.clock import ManualClock

KEYED = Claim("key", "digest", waited_for=False)
UNKEYED = Claim("", "digest", waited_for=False)


class ScriptedStore:
    """Holds at most one job, which other calls own, and notes what is asked of it."""

    def __init__(self, clock: ManualClock) -> None:
        self.held: JobSnapshot | None = None
        self.turn_is_free = False
        self.calls: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.reading = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()
        self._clock = clock

    async def claim(self, record: JobRecord, **options: Any) -> str:
        self.calls.append(("claim", record.id))
        await self.gate.wait()
        return record.id if self.held is None else self.held.job_id

    async def get(self, job_id: str) -> JobSnapshot | None:
        self._clock.advance(1.0)
        self.reading.set()
        with suppress(asyncio.CancelledError):  # as the Redis client does now and then
            await self.answers.wait()
        return self.held

    async def release(self, job_id: str) -> None:
        self.calls.append(("release", job_id))
        self.held = None

    async def take_publication(self, job_id: str, *, by: str, for_s: float) -> bool:
        self.calls.append(("take_publication", job_id))
        return self.turn_is_free

    async def give_up_publication(self, job_id: str, *, by: str) -> None:
        self.calls.append(("give_up_publication", job_id))

    async def note_published(self, job_id: str) -> None:
        self.calls.append(("note_published", job_id))

    async def abandon(self, job_id: str) -> None:
        self.calls.append(("abandon", job_id))


class Calls:
    """Submits through a scripted store; ``published`` are the ids that went to the bus."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = ScriptedStore(self.clock)
        self.background = BackgroundTasks()
        self.published: list[str] = []
        self.error: Exception | None = None
        self._ids = map(str, count(1))
        self._once = OncePublisher(
            self.store,
            publish_timeout_s=5.0,
            background=self.background,
            clock=self.clock,
        )

    async def submit(self, claim: Claim) -> JobSnapshot:
        return await self._once.submit(claim, new_record=self._record, publish=self._publish)

    def hold(self, **fields: Any) -> None:
        """Let another call own the key."""
        at_ms = self.clock.wall_ms()
        job = JobSnapshot("held", "acme", JobState.QUEUED, at_ms, at_ms + 60_000)
        self.store.held = replace(job, **fields)

    def _record(self) -> JobRecord:
        at_ms = self.clock.wall_ms()
        return JobRecord(
            id=next(self._ids), tenant="acme", submitted_at_ms=at_ms, deadline_at_ms=at_ms + 60_000
        )

    async def _publish(self, record: JobRecord) -> None:
        self.published.append(record.id)
        if self.error is not None:
            raise self.error


@pytest.fixture
def calls() -> Calls:
    return Calls()


async def test_new_job_is_published_and_noted_under_its_key(calls: Calls):
    job = await calls.submit(KEYED)
    assert (job.job_id, job.state, job.published) == ("1", JobState.QUEUED, True)
    assert calls.published == ["1"]
    assert calls.store.calls == [("claim", "1"), ("note_published", "1")]


async def test_job_without_a_key_is_published_and_not_noted(calls: Calls):
    await calls.submit(UNKEYED)
    assert calls.store.calls == [("claim", "1")]


@pytest.mark.parametrize(
    ("claim", "error", "undone"),
    [
        (UNKEYED, BackendUnavailableError("no acknowledgement"), "release"),
        (KEYED, BackendUnavailableError("no acknowledgement"), "give_up_publication"),
        (KEYED, LimitExceededError(field="record", problem="too large"), "release"),
        (KEYED, RuntimeError("a bug of the client"), "give_up_publication"),
    ],
    ids=["without a key", "with a key", "too large", "unexpected"],
)
async def test_failed_publication_is_undone_and_its_error_raised(calls, claim, error, undone):
    calls.error = error
    with pytest.raises(type(error)):
        await calls.submit(claim)
    assert calls.store.calls == [("claim", "1"), (undone, "1")]


@pytest.mark.parametrize(
    "fields",
    [
        {"published": True},
        {"attempt_count": 1},
        {"state": JobState.SUCCEEDED, "attempt_count": 1},
        {"state": JobState.FAILED, "attempt_count": 1},
    ],
)
async def test_job_that_the_bus_has_is_returned_and_not_published(calls: Calls, fields):
    calls.hold(**fields)
    assert (await calls.submit(KEYED)).job_id == "held"
    assert calls.published == []


async def test_caller_that_leaves_while_the_job_is_read_takes_no_turn(calls: Calls):
    calls.hold()
    calls.store.turn_is_free = True
    calls.store.answers.clear()
    call = asyncio.create_task(calls.submit(KEYED))
    await calls.store.reading.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert calls.published == []


async def test_job_that_nobody_publishes_is_published_under_its_own_id(calls: Calls):
    calls.hold()
    calls.store.turn_is_free = True
    assert (await calls.submit(KEYED)).job_id == "held"
    assert calls.published == ["held"]


async def test_turn_that_never_ends_is_an_error_and_not_a_second_record(calls: Calls):
    calls.hold()
    with pytest.raises(BackendUnavailableError, match="retried by others"):
        await calls.submit(KEYED)
    assert calls.published == []


@pytest.mark.parametrize(
    "fields",
    [
        {"state": JobState.EXPIRED},
        {"state": JobState.CANCELLED},
        {"deadline_at_ms": 0},
    ],
)
async def test_key_of_a_job_that_cannot_succeed_goes_to_a_new_job(calls: Calls, fields):
    calls.hold(**fields)
    assert (await calls.submit(KEYED)).job_id == "2"
    assert ("release", "held") in calls.store.calls
    assert calls.published == ["2"]


@pytest.mark.parametrize(
    ("claim", "undone"), [(KEYED, "give_up_publication"), (UNKEYED, "abandon")], ids=["key", "none"]
)
async def test_caller_that_leaves_during_the_claim_leaves_nothing(calls: Calls, claim, undone):
    calls.store.gate.clear()
    call = asyncio.create_task(calls.submit(claim))
    await asyncio.sleep(0.001)
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call
    calls.store.gate.set()
    await calls.background.close()
    assert calls.store.calls == [("claim", "1"), (undone, "1")]
    assert calls.published == []
