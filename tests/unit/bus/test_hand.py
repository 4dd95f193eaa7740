"""What a consumer of Redis Streams holds, and what it must not take twice."""

from __future__ import annotations

import dataclasses

from arno.bus.redis_streams.hand import Hand


def test_entry_in_hand_is_not_taken_twice() -> None:
    hand = Hand()
    receipt = hand.take("batch", "1-0")
    assert receipt is not None
    assert hand.take("batch", "1-0") is None
    hand.finish(receipt)
    assert hand.take("batch", "1-0") is None
    hand.removed("batch", ["1-0"])
    assert hand.take("batch", "1-0") is not None


def test_entry_that_went_to_another_makes_its_receipt_stale() -> None:
    hand = Hand()
    receipt = hand.take("batch", "1-0")
    assert receipt is not None
    hand.drop("batch", ["1-0"])
    hand.finish(receipt)
    assert hand.stale_done_count == 1
    assert hand.finished() == {}


def test_receipt_of_an_earlier_delivery_is_stale() -> None:
    hand = Hand()
    first = hand.take("batch", "1-0")
    assert first is not None
    hand.drop("batch", ["1-0"])
    second = hand.take("batch", "1-0")
    assert second == dataclasses.replace(first, epoch=first.epoch + 1)
    hand.finish(first)
    assert hand.unfinished_count == 1


def test_entries_are_listed_by_channel() -> None:
    hand = Hand()
    for channel, position in [("batch", "1-0"), ("stream", "1-0"), ("batch", "2-0")]:
        hand.take(channel, position)
    assert hand.working() == {"batch": ["1-0", "2-0"], "stream": ["1-0"]}
    hand.drop_all()
    assert hand.unfinished_count == 0


def test_wait_returns_at_once_while_something_is_to_be_removed() -> None:
    hand = Hand()
    receipt = hand.take("batch", "1-0")
    assert receipt is not None
    hand.finish(receipt)
    hand.wait(timeout_s=60)
    assert hand.finished_count == 1
