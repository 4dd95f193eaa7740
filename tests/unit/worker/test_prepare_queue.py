from typing import Any, cast

from arno.bus import Delivery, Receipt, Record
from arno.worker.job import Job
from arno.worker.poll_loop import PrepareQueue
from support.clock import ManualClock


def _job(channel: str, name: str) -> Job:
    delivery = Delivery(Record(channel, name.encode()), Receipt(channel, 0, name, 1), 0)
    return Job(delivery, consumer=cast("Any", None))


def _drain(queue: PrepareQueue, count: int) -> list[str]:
    taken = [queue.get() for _ in range(count)]
    return [job.delivery.record.value.decode() for job in taken if job]


def test_interactive_delivery_overtakes_the_batch_lane() -> None:
    queue = PrepareQueue(ManualClock())
    for name in ("b1", "b2"):
        queue.put(_job("batch", name))
    queue.put(_job("interactive", "i1"))
    queue.put(_job("stream", "s1"))
    assert _drain(queue, 4) == ["i1", "s1", "b1", "b2"]


def test_batch_delivery_that_waited_long_goes_first() -> None:
    clock = ManualClock()
    queue = PrepareQueue(clock)
    queue.put(_job("batch", "old"))
    clock.advance(6.0)
    queue.put(_job("interactive", "new"))
    assert _drain(queue, 2) == ["old", "new"]


def test_stop_lets_readers_end_before_the_rest() -> None:
    queue = PrepareQueue(ManualClock())
    queue.put(_job("batch", "left"))
    queue.stop(1)
    assert queue.get() is None
