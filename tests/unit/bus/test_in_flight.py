"""What a consumer of Redis Streams holds, and what it must not take twice."""

from __future__ import annotations

import dataclasses

from arno.bus.redis_streams.consumer import InFlight


def test_entry_in_flight_is_not_taken_twice() -> None:
    in_flight = InFlight()
    receipt = in_flight.take("batch", "1-0")
    assert receipt is not None
    assert in_flight.take("batch", "1-0") is None
    in_flight.finish(receipt)
    assert in_flight.take("batch", "1-0") is None
    in_flight.removed("batch", ["1-0"])
    assert in_flight.take("batch", "1-0") is not None


def test_entry_that_went_to_another_makes_its_receipt_stale() -> None:
    in_flight = InFlight()
    receipt = in_flight.take("batch", "1-0")
    assert receipt is not None
    in_flight.drop("batch", ["1-0"])
    in_flight.finish(receipt)
    assert in_flight.stale_done_count == 1
    assert in_flight.finished() == {}


def test_receipt_of_an_earlier_delivery_is_stale() -> None:
    in_flight = InFlight()
    first = in_flight.take("batch", "1-0")
    assert first is not None
    in_flight.drop("batch", ["1-0"])
    second = in_flight.take("batch", "1-0")
    assert second == dataclasses.replace(first, epoch=first.epoch + 1)
    in_flight.finish(first)
    assert in_flight.unfinished_count == 1


def test_entries_are_listed_by_channel() -> None:
    in_flight = InFlight()
    for channel, position in [("batch", "1-0"), ("stream", "1-0"), ("batch", "2-0")]:
        in_flight.take(channel, position)
    assert in_flight.unfinished() == {"batch": ["1-0", "2-0"], "stream": ["1-0"]}
    in_flight.drop_all()
    assert in_flight.unfinished_count == 0


def test_wait_returns_at_once_while_something_is_to_be_removed() -> None:
    in_flight = InFlight()
    receipt = in_flight.take("batch", "1-0")
    assert receipt is not None
    in_flight.finish(receipt)
    in_flight.wait(timeout_s=60)
    assert in_flight.finished_count == 1
