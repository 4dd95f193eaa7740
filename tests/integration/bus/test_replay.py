"""A replay of dead letters can fail halfway and be repeated; large images are kept for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis
from arno.bus import BusSettings, Record, make_publisher
from arno.bus.dead_letters import DeadLetter, ReplayTerms, replay
from arno.bus.ports import Publisher
from arno.bus.v1.records_pb2 import DeadJob, JobRecord
from arno.errors import BackendUnavailableError
from arno.results.gateway_store import GatewayStore
from support.builders import new_job, redis_bus, result_store
from support.redis_server import RedisServer

pytestmark = pytest.mark.redis

TERMS = ReplayTerms(time_to_live_s=600, image_time_to_live_s=4000)


class FailingPublisher:
    """Fails as often as it is told to, and then publishes."""

    def __init__(self, publisher: Publisher, failures: int) -> None:
        self._publisher = publisher
        self._failures = failures
        self.published: list[JobRecord] = []

    async def publish(self, record: Record, *, timeout_s: float) -> None:
        if self._failures:
            self._failures -= 1
            raise BackendUnavailableError("no acknowledgement")
        self.published.append(JobRecord.FromString(record.value))
        await self._publisher.publish(record, timeout_s=timeout_s)


def letter_of(record: JobRecord, number: int = 1) -> DeadLetter:
    return DeadLetter(f"1-{number}", DeadJob(job=record, channel="interactive"), 1, 1)


@pytest.fixture
async def store(redis_server: RedisServer, unique_prefix: str) -> AsyncIterator[GatewayStore]:
    store = GatewayStore(result_store(redis_server, unique_prefix), gateway="replay")
    await store.start()
    yield store
    await store.close()


@pytest.fixture
async def bus(redis_server: RedisServer, unique_prefix: str) -> AsyncIterator[Publisher]:
    settings: BusSettings = redis_bus(redis_server, unique_prefix)
    publisher = make_publisher(settings)
    await publisher.start()
    yield publisher
    await publisher.close()


async def test_replay_that_failed_halfway_is_repeated_and_runs_each_job_once(
    store: GatewayStore, bus: Publisher
) -> None:
    letters = [letter_of(new_job(inline_image=b"image"), number) for number in range(3)]
    publisher = FailingPublisher(bus, 0)
    first = await replay(letters[0], publisher, store, TERMS)
    publisher._failures = 1
    with pytest.raises(BackendUnavailableError):
        await replay(letters[1], publisher, store, TERMS)
    lines = [(await replay(letter, publisher, store, TERMS)).line for letter in letters]
    new_ids = [record.id for record in publisher.published]
    assert len(new_ids) == len(set(new_ids)) == 3
    assert first.line.endswith(f"runs again as {new_ids[0]}")
    assert f"was replayed before, as {new_ids[0]} (QUEUED)" in lines[0]
    assert [line.split()[-1] for line in lines[1:]] == new_ids[1:]
    jobs = [await store.get(job_id) for job_id in new_ids]
    assert all(job is not None and job.published for job in jobs)
    assert [job.deadline_at_ms for job in jobs if job] == [
        record.deadline_at_ms for record in publisher.published
    ]


async def test_replay_keeps_a_large_image_and_names_one_that_is_gone(
    store: GatewayStore, bus: Publisher, redis_server: RedisServer, unique_prefix: str
) -> None:
    kept, lost = new_job(), new_job()
    kept.blob.sha256 = await store.blobs.put(b"image", time_to_live_s=60)
    kept.blob.size_bytes = 5
    lost.blob.sha256 = "0" * 64
    publisher = FailingPublisher(bus, 0)
    assert (await replay(letter_of(kept), publisher, store, TERMS)).replayed
    outcome = await replay(letter_of(lost, 2), publisher, store, TERMS)
    assert not outcome.replayed
    assert outcome.line == "1-2: not replayed, the store no longer has its image"
    assert len(publisher.published) == 1
    with redis.Redis.from_url(redis_server.url) as raw:
        assert raw.ttl(f"{unique_prefix}:blob:{kept.blob.sha256}") > 3900


async def test_replay_by_another_at_the_same_moment_is_told(
    store: GatewayStore, bus: Publisher
) -> None:
    letter = letter_of(new_job(inline_image=b"image"))
    claimed = new_job()
    await store.claim(claimed, idempotency_key=f"dead.{letter.dead.job.id}", publishing_s=60)
    outcome = await replay(letter, FailingPublisher(bus, 0), store, TERMS)
    assert not outcome.replayed
    assert "another call does so at this moment" in outcome.line
