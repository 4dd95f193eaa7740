"""Of all who hold a key at the same moment, one has the turn to put its job on the bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis
from arno.results.gateway_store import GatewayStore
from arno.results.settings import ResultSettings
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState
from support import builders
from support.builders import new_job
from support.redis_server import RedisServer

pytestmark = pytest.mark.redis


@pytest.fixture
def settings(redis_server: RedisServer, unique_prefix: str) -> ResultSettings:
    return builders.result_store(redis_server, unique_prefix)


@pytest.fixture
async def store(settings: ResultSettings) -> AsyncIterator[GatewayStore]:
    store = GatewayStore(settings, gateway="g1")
    await store.start()
    yield store
    await store.close()


async def held_by_claimant(store: GatewayStore) -> str:
    return await store.claim(new_job(), idempotency_key="k", publishing_s=600)


async def test_claimant_has_the_first_turn_and_may_ask_again(store: GatewayStore) -> None:
    job_id = await held_by_claimant(store)
    assert not await store.take_publication(job_id, by="other", for_s=600)
    assert await store.take_publication(job_id, by=job_id, for_s=600)


async def test_of_many_who_ask_at_once_one_has_the_turn(store: GatewayStore) -> None:
    job_id = await held_by_claimant(store)
    await store.give_up_publication(job_id, by=job_id)
    names = [f"caller {number}" for number in range(50)]
    asked = [store.take_publication(job_id, by=name, for_s=600) for name in names]
    assert sum(await asyncio.gather(*asked)) == 1


async def test_turn_is_given_up_by_its_holder_only(store: GatewayStore) -> None:
    job_id = await held_by_claimant(store)
    await store.give_up_publication(job_id, by="other")
    assert not await store.take_publication(job_id, by="other", for_s=600)
    await store.give_up_publication(job_id, by=job_id)
    assert await store.take_publication(job_id, by="other", for_s=600)


async def test_turn_ends_with_its_time(
    store: GatewayStore, raw: redis.Redis, unique_prefix: str
) -> None:
    job_id = await held_by_claimant(store)
    raw.hset(f"{unique_prefix}:job:{job_id}", "publishing", f"1 {job_id}")
    assert await store.take_publication(job_id, by="other", for_s=600)


async def test_claim_without_a_time_leaves_the_turn_to_the_next(store: GatewayStore) -> None:
    job_id = await store.claim(new_job(), idempotency_key="k")
    assert await store.take_publication(job_id, by="other", for_s=600)


async def test_nobody_has_a_turn_at_what_is_published_begun_deleted_or_foreign(
    store: GatewayStore, settings: ResultSettings, raw: redis.Redis, unique_prefix: str
) -> None:
    published, begun, deleted = new_job(), new_job(), new_job()
    for key, record in zip("abc", (published, begun, deleted), strict=True):
        await store.claim(record, idempotency_key=key)
    await store.note_published(published.id)
    worker = WorkerStore(settings)
    worker.begin(begun)
    worker.close()
    await store.delete(deleted.id)
    raw.set(f"{unique_prefix}:job:foreign", "text")
    for job_id in (published.id, begun.id, deleted.id, "foreign", "unknown"):
        assert not await store.take_publication(job_id, by="other", for_s=600)
        await store.give_up_publication(job_id, by="other")
    assert not raw.hexists(f"{unique_prefix}:job:{published.id}", "publishing")


async def test_abandoned_job_leaves_nothing_and_frees_its_key(
    store: GatewayStore, raw: redis.Redis, unique_prefix: str
) -> None:
    record, again = new_job(), new_job()
    await store.claim(record, idempotency_key="k")
    for _ in range(2):
        await store.abandon(record.id)
    for kind in ("job", "watchers", "idempotency"):
        assert list(raw.scan_iter(f"{unique_prefix}:{kind}:*")) == []
    assert await store.claim(again, idempotency_key="k") == again.id
    found = await store.get(again.id)
    assert found is not None
    assert found.state is JobState.QUEUED
