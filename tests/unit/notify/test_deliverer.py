"""How long, and how often, an event is offered to a receiver that does not take it."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
from arno.api.v1.events_pb2 import ResultEvent
from arno.notify import deliverer as module
from arno.notify.deliverer import Deliverer
from arno.notify.settings import Subscription
from arno.notify.targets import UndeliveredError
from arno.results.outbox import Ended
from support.clock import ManualClock

SILENCE_S = 30.0
HOUR_S = 3600.0


class Failing:
    """A receiver that answers 500 until a moment."""

    def __init__(self, clock: ManualClock, until_s: float) -> None:
        self.clock, self.until_s = clock, until_s
        self.asked_s: list[float] = []

    async def deliver(self, event: ResultEvent) -> None:
        self.asked_s.append(self.clock.monotonic_s())
        if self.clock.monotonic_s() < self.until_s:
            raise UndeliveredError("status 500")


class Outbox:
    """Notes what is renewed and given up."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.renewed_s: list[float] = []
        self.given_up: list[str] = []

    async def renew(self, name: str, entry: Ended) -> None:
        self.renewed_s.append(self.clock.monotonic_s())

    async def give_up(self, name: str, entry: Ended, reason: str) -> None:
        self.given_up.append(reason)


@pytest.fixture
def clock(monkeypatch):
    clock = ManualClock()

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    return clock


def deliverer(clock: ManualClock, receiver: Failing, outbox: Outbox, **fields: object) -> Deliverer:
    counter = SimpleNamespace(labels=lambda *names: SimpleNamespace(inc=lambda: None))
    metrics = SimpleNamespace(retries=counter, events=counter)
    subscription = Subscription(name="orders", topic="unused", **fields)
    return Deliverer(subscription, outbox, receiver, metrics, silence_s=SILENCE_S, clock=clock)


async def test_receiver_that_fails_for_an_hour_gets_the_event_after_it(clock):
    began_s, entry = clock.monotonic_s(), Ended(f"{clock.wall_ms()}-0", "job")
    receiver, outbox = Failing(clock, began_s + HOUR_S), Outbox(clock)
    outcome = await deliverer(clock, receiver, outbox)._deliver(entry, ResultEvent())
    assert (outcome, outbox.given_up) == ("delivered", [])
    # Ten times a minute at most, and never so seldom that another process takes the entry over.
    assert len(receiver.asked_s) <= 10 * HOUR_S / 60
    offers = [began_s, *outbox.renewed_s]
    assert max(b - a for a, b in pairwise(offers)) < SILENCE_S
    assert receiver.asked_s[-1] - began_s < HOUR_S + SILENCE_S


async def test_event_is_given_up_at_its_age_and_the_reason_kept(clock):
    entry = Ended(f"{clock.wall_ms()}-0", "job")
    began_s = clock.monotonic_s()
    receiver, outbox = Failing(clock, began_s + 10 * HOUR_S), Outbox(clock)
    telling = deliverer(clock, receiver, outbox, give_up_s=HOUR_S)
    assert await telling._deliver(entry, ResultEvent()) == "undelivered"
    assert outbox.given_up == ["status 500"]
    assert HOUR_S <= clock.monotonic_s() - began_s < HOUR_S + SILENCE_S
