"""Jobs reach the prepare threads fair by tenant, and quick images do not wait for slow ones."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest
from arno.api.v1 import types_pb2
from arno.bus import Delivery, Receipt, Record
from arno.bus.v1.records_pb2 import BlobReference, JobRecord
from arno.worker.job import Job
from arno.worker.prepare_queue import (
    QUICK_S,
    Pace,
    PreparePlan,
    PrepareQueue,
    expected_prepare_s,
)
from support.clock import ManualClock
from support.job_client import job_record

PLAN = PreparePlan(quick_count=2, slow_count=4, pixels_max=100_000_000, tenant_share=0.5)
HUGE_PX = 7000


def record(name: str, *, tenant: str = "default", side_px: int = 64, scans: int = 1) -> JobRecord:
    found = job_record()
    found.id, found.tenant, found.image_scan_count = name, tenant, scans
    size = types_pb2.ImageDescription(width_px=side_px, height_px=side_px)
    found.image_description.CopyFrom(size)
    return found


def job(name: str, channel: str = "interactive", **fields: Any) -> Job:
    return delivered(record(name, **fields).SerializeToString(), channel)


def delivered(value: bytes, channel: str = "interactive") -> Job:
    delivery = Delivery(Record(channel, value), Receipt(channel, 0, "1", 1), 0)
    return Job(delivery, consumer=cast("Any", None))


def queue_of(*jobs: Job, plan: PreparePlan = PLAN) -> PrepareQueue:
    queue = PrepareQueue(ManualClock(), plan)
    for each in jobs:
        queue.put(each)
    return queue


def taken(queue: PrepareQueue, count: int, pace: Pace = Pace.QUICK) -> list[Job]:
    """Return the jobs that so many threads, which all are free, begin with."""
    jobs = [queue.get(pace) for _ in range(count)]
    return [each for each in jobs if each is not None]


def one_after_the_other(queue: PrepareQueue, count: int, *, took_s: float = 0.01) -> list[str]:
    names = []
    for _ in range(count):
        [each] = taken(queue, 1)
        names.append(each.id)
        queue.done(each, took_s=took_s)
    return names


def nothing_starts(queue: PrepareQueue, pace: Pace) -> bool:
    found: list[Job | None] = []
    reader = threading.Thread(target=lambda: found.append(queue.get(pace)))
    reader.start()
    queue.stop()
    reader.join()
    return found == [None]


def test_interactive_delivery_overtakes_the_batch_lane() -> None:
    queue = queue_of(job("b1", "batch"), job("b2", "batch"), job("i1"), job("s1", "stream"))
    assert one_after_the_other(queue, 4) == ["i1", "s1", "b1", "b2"]


def test_batch_delivery_that_waited_long_goes_first() -> None:
    clock = ManualClock()
    queue = PrepareQueue(clock, PLAN)
    queue.put(job("old", "batch"))
    clock.advance(6.0)
    queue.put(job("new"))
    assert one_after_the_other(queue, 2) == ["old", "new"]


def test_flood_of_one_tenant_does_not_stand_before_the_job_of_another() -> None:
    queue = queue_of(*(job(f"flood-{n}", tenant="hostile") for n in range(50)))
    [running] = taken(queue, 1)
    queue.put(job("mine", tenant="people"))
    queue.done(running, took_s=0.01)
    assert one_after_the_other(queue, 1) == ["mine"]


def test_flood_of_old_batch_jobs_does_not_stand_before_another_tenants_job() -> None:
    clock = ManualClock()
    queue = PrepareQueue(clock, PLAN)
    for n in range(20):
        queue.put(job(f"flood-{n}", "batch", tenant="hostile"))
    [running] = taken(queue, 1)
    clock.advance(60.0)
    queue.put(job("mine", tenant="people"))
    queue.done(running, took_s=0.01)
    assert one_after_the_other(queue, 1) == ["mine"]


def test_tenant_whose_images_take_longer_than_they_look_is_charged_for_it() -> None:
    queue = queue_of(*(job(f"a{n}", tenant="a") for n in range(9)))
    for n in range(9):
        queue.put(job(f"b{n}", tenant="b"))
    served = []
    for _ in range(10):
        [each] = taken(queue, 1)
        served.append(each.id[0])
        queue.done(each, took_s=0.5 if each.id[0] == "a" else 0.005)
    assert served.count("a") == 1


def test_slow_images_leave_the_threads_for_quick_ones_free() -> None:
    queue = queue_of(*(job(f"bomb-{n}", tenant="hostile", side_px=HUGE_PX) for n in range(9)))
    queue.put(job("mine", tenant="people"))
    assert one_after_the_other(queue, 1) == ["mine"]
    assert len(queue) == 9


def test_slow_images_of_one_tenant_leave_threads_and_pixels_to_another() -> None:
    queue = queue_of(*(job(f"h{n}", tenant="hostile", side_px=HUGE_PX) for n in range(9)))
    [first] = taken(queue, 1, Pace.SLOW)
    queue.put(job("large", tenant="people", side_px=HUGE_PX))
    [second] = taken(queue, 1, Pace.SLOW)
    assert (first.id, second.id) == ("h0", "large")
    queue.done(second, took_s=0.5)
    # 2 x 49 million pixels are more than half of 100 million.
    assert nothing_starts(queue, Pace.SLOW)


def test_small_images_with_many_scans_take_no_more_than_a_tenants_share_of_threads() -> None:
    bombs = (job(f"h{n}", tenant="hostile", side_px=1000, scans=900) for n in range(9))
    queue = queue_of(*bombs)
    assert len(taken(queue, 2, Pace.SLOW)) == 2
    queue.put(job("large", tenant="people", side_px=HUGE_PX))
    assert [each.id for each in taken(queue, 1, Pace.SLOW)] == ["large"]
    assert nothing_starts(queue, Pace.SLOW)


def test_without_api_keys_the_one_tenant_may_have_everything() -> None:
    queue = queue_of(*(job(f"j{n}", side_px=3000) for n in range(9)))
    assert len(taken(queue, 4, Pace.SLOW)) == 4


def test_image_above_the_budget_is_prepared_alone() -> None:
    plan = PreparePlan(quick_count=1, slow_count=2, pixels_max=1000, tenant_share=0.5)
    queue = queue_of(job("large", tenant="a", side_px=HUGE_PX), plan=plan)
    [large] = taken(queue, 1, Pace.SLOW)
    queue.put(job("other", tenant="b", side_px=30))
    queue.done(large, took_s=0.5)
    assert [each.id for each in taken(queue, 1, Pace.SLOW)] == ["other"]


def test_record_that_cannot_be_read_is_queued_to_be_given_up() -> None:
    queue = queue_of(delivered(b"\xff no record"))
    [found] = taken(queue, 1)
    assert found.unreadable is not None
    queue.done(found, took_s=0.001)


def test_stop_lets_readers_end_before_the_rest() -> None:
    assert nothing_starts(queue_of(job("left", "batch", side_px=HUGE_PX)), Pace.QUICK)


@pytest.mark.parametrize(
    ("side_px", "scans", "size_bytes", "quick"),
    [
        (64, 1, 1_000, True),
        (1600, 1, 400_000, True),
        (3000, 1, 2_000_000, False),
        (7000, 20, 200_000, False),
        (1000, 400, 20_000, False),
        (64, 1, 16_000_000, False),
    ],
    ids=["thumbnail", "screen", "photo", "scan bomb", "small scan bomb", "large file"],
)
def test_cost_is_told_by_pixels_scans_and_bytes(
    side_px: int, scans: int, size_bytes: int, quick: bool
) -> None:
    asked = record("j", side_px=side_px, scans=scans)
    asked.blob.CopyFrom(BlobReference(sha256="0" * 64, size_bytes=size_bytes))
    assert (expected_prepare_s(asked) <= QUICK_S) is quick


def test_cost_of_a_record_that_tells_no_scans_is_that_of_one() -> None:
    assert expected_prepare_s(record("j", scans=0)) == expected_prepare_s(record("j", scans=1))


def test_flood_leaves_a_quick_thread_free_before_the_other_tenant_comes() -> None:
    queue = queue_of(job("p1", tenant="people"))
    assert one_after_the_other(queue, 1) == ["p1"]
    for n in range(4):
        queue.put(job(f"f{n}", tenant="flood"))
    assert [each.id for each in taken(queue, 1)] == ["f0"]
    assert nothing_starts(queue, Pace.QUICK)
