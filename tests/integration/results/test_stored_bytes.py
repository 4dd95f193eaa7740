"""What a tenant stores is counted, bounded, and forgotten when it expires or is deleted."""

from __future__ import annotations

import asyncio

import pytest
import redis
from arno.errors import QuotaExceededError
from arno.results.jobs import JobTerms
from arno.results.worker_store import WorkerStore
from support.builders import new_job
from support.stored_jobs import StoreFactory, outcome, run_jobs

pytestmark = pytest.mark.redis

JOB_BYTES = 2048
IMAGE = b"image" * 10_000


@pytest.fixture
def account(unique_prefix: str) -> str:
    return f"{unique_prefix}:stored:acme"


def total(raw: redis.Redis, account: str) -> int:
    return int(raw.hget(account, "total") or 0)


async def test_job_above_the_limit_of_its_tenant_is_refused_until_another_is_deleted(
    new_store: StoreFactory, raw: redis.Redis, account: str, unique_prefix: str
) -> None:
    store, terms = await new_store("g1"), JobTerms(stored_bytes_max=2 * JOB_BYTES + 1)
    records = [new_job() for _ in range(3)]
    for record in records[:2]:
        await store.claim(record, idempotency_key=record.id, terms=terms)
    with pytest.raises(QuotaExceededError) as refused:
        await store.claim(records[2], waited_for=True, terms=terms)
    facts = refused.value.metadata
    assert facts["quota"] == "stored_bytes"
    assert (facts["limit"], facts["wanted"]) == (str(2 * JOB_BYTES + 1), str(3 * JOB_BYTES))
    assert not raw.exists(f"{unique_prefix}:job:{records[2].id}")
    # A retry with its key stores nothing new, and another tenant has a limit of its own.
    again = await store.claim(new_job(), idempotency_key=records[0].id, terms=terms)
    assert again == records[0].id
    await store.claim(new_job(tenant="other"), terms=terms)
    await store.delete(records[0].id)
    await store.claim(records[2], terms=terms)
    assert total(raw, account) == 2 * JOB_BYTES


async def test_job_is_counted_once_and_its_results_with_it(
    new_store: StoreFactory, worker: WorkerStore, raw: redis.Redis, account: str
) -> None:
    store, record = await new_store("g1"), new_job()
    for _ in range(2):
        await store.claim(record)
    assert total(raw, account) == JOB_BYTES
    attempt = await asyncio.to_thread(worker.begin, record)
    for _ in range(2):
        await asyncio.to_thread(worker.finish, attempt, outcome())
    assert total(raw, account) == JOB_BYTES + outcome().ByteSize()
    await store.delete(record.id)
    await store.delete(record.id)
    assert total(raw, account) == 0


async def test_image_is_counted_once_a_tenant_until_its_last_wish(
    new_store: StoreFactory, raw: redis.Redis, account: str, unique_prefix: str
) -> None:
    store = await new_store("g1")
    for tenant, life_s in (("acme", 60), ("acme", 6000), ("acme", 60), ("other", 60)):
        sha256 = await store.blobs.put(IMAGE, time_to_live_s=life_s, tenant=tenant)
    assert total(raw, account) == total(raw, f"{unique_prefix}:stored:other") == len(IMAGE)
    fields = {name.decode(): value for name, value in raw.hgetall(account).items()}
    until = fields.pop(f"blob:{sha256}").decode()
    assert int(fields[until]) == len(IMAGE)
    assert raw.pttl(account) > 6_000_000 - 60_000


async def test_image_above_the_limit_is_refused_before_it_is_sent(
    new_store: StoreFactory, raw: redis.Redis, account: str, unique_prefix: str
) -> None:
    store, limit = await new_store("g1"), 2 * len(IMAGE) - 1
    await store.blobs.put(IMAGE, time_to_live_s=60, tenant="acme", stored_bytes_max=limit)
    before = raw.info("stats")["total_net_input_bytes"]
    with pytest.raises(QuotaExceededError) as refused:
        await store.blobs.put(IMAGE[::-1], time_to_live_s=60, tenant="acme", stored_bytes_max=limit)
    assert raw.info("stats")["total_net_input_bytes"] - before < len(IMAGE) / 2
    facts = refused.value.metadata
    assert (facts["limit"], facts["wanted"]) == (str(limit), str(2 * len(IMAGE)))
    # What the tenant has stored already costs nothing more.
    await store.blobs.put(IMAGE, time_to_live_s=600, tenant="acme", stored_bytes_max=limit)
    assert len(list(raw.scan_iter(f"{unique_prefix}:blob:*"))) == 1


async def test_what_has_expired_is_counted_no_longer(
    new_store: StoreFactory, raw: redis.Redis, account: str
) -> None:
    store = await new_store("g1")
    raw.hset(account, mapping={"100": 700, "101": 300, "blob:x": 101, "total": 1000, "swept": 99})
    await store.claim(new_job(), terms=JobTerms(stored_bytes_max=JOB_BYTES))
    assert total(raw, account) == JOB_BYTES
    assert not {b"100", b"101", b"blob:x"} & raw.hgetall(account).keys()


async def test_account_that_holds_something_else_keeps_no_job_from_ending(
    new_store: StoreFactory, worker: WorkerStore, raw: redis.Redis, account: str
) -> None:
    store, record = await new_store("g1"), new_job()
    await store.claim(record)
    raw.delete(account)
    raw.rpush(account, "foreign")
    await run_jobs(worker, record)
    found = await store.get(record.id)
    assert found is not None
    assert found.state.ended
    await store.delete(record.id)
    await store.claim(new_job())
    assert total(raw, account) == JOB_BYTES
