from arno.bus import Delivery, Receipt, Record
from arno.worker.clock import Clock
from arno.worker.prepare_queue import PrepareQueue


def _delivery(channel: str, name: str) -> Delivery:
    return Delivery(Record(channel, name.encode()), Receipt(channel, 0, name, 1), 0)


def _drain(queue: PrepareQueue, count: int) -> list[str]:
    taken = [queue.get() for _ in range(count)]
    return [waiting.delivery.record.value.decode() for waiting in taken if waiting]


def _never() -> None:
    raise AssertionError("nothing is done here")


def test_interactive_delivery_overtakes_the_batch_lane() -> None:
    queue = PrepareQueue(Clock(monotonic_s=lambda: 100.0))
    for name in ("b1", "b2"):
        queue.put(_delivery("batch", name), _never)
    queue.put(_delivery("interactive", "i1"), _never)
    queue.put(_delivery("stream", "s1"), _never)
    assert _drain(queue, 4) == ["i1", "s1", "b1", "b2"]


def test_batch_delivery_that_waited_long_goes_first() -> None:
    now_s = [100.0]
    queue = PrepareQueue(Clock(monotonic_s=lambda: now_s[0]))
    queue.put(_delivery("batch", "old"), _never)
    now_s[0] = 106.0
    queue.put(_delivery("interactive", "new"), _never)
    assert _drain(queue, 2) == ["old", "new"]


def test_stop_lets_readers_end_before_the_rest() -> None:
    queue = PrepareQueue(Clock())
    queue.put(_delivery("batch", "left"), _never)
    queue.stop(1)
    assert queue.get() is None
