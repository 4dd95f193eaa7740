"""What publishers and consumers do while Kafka is away for long, or there and silent."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from arno.bus import BusSettings, Publisher, Record, make_publisher
from arno.bus.kafka import settings as kafka_settings
from arno.bus.kafka.net_patches import PacedClient
from arno.errors import ArnoError, BackendUnavailableError
from arno.vocabulary import Lane
from support import builders
from support.kafka_broker import KafkaBroker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

# Above the 5 s of one request, below the outage of the tests.
DELIVERY_TIMEOUT_S = 6.0


@pytest.fixture
def settings(
    kafka_broker: KafkaBroker, unique_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> BusSettings:
    monkeypatch.setattr(kafka_settings, "DELIVERY_TIMEOUT_S", DELIVERY_TIMEOUT_S)
    return builders.kafka_bus(kafka_broker, unique_prefix, partitions=2)


@contextmanager
def frozen(broker: KafkaBroker) -> Iterator[None]:
    """Let a broker accept connections and say nothing."""
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker.pid, signal.SIGCONT)


async def publish_meanwhile(publisher: Publisher) -> list[asyncio.Task[None]]:
    """Begin publishing until the first records are accepted; return those that still wait."""
    sending: list[asyncio.Task[None]] = []
    while not any(task.done() for task in sending):
        record = Record(Lane.BATCH, b"x" * 100_000)
        sending += [asyncio.create_task(publisher.publish(record, timeout_s=120)) for _ in range(9)]
        await asyncio.sleep(0)
    return sending


async def test_publisher_recovers_from_an_outage_longer_than_its_patience(
    settings: BusSettings, kafka_broker: KafkaBroker
) -> None:
    publisher = make_publisher(settings)
    await publisher.start()
    in_flight = await publish_meanwhile(publisher)
    kafka_broker.kill()
    late = asyncio.create_task(publisher.publish(Record(Lane.BATCH, b"late"), timeout_s=120))
    answers = await asyncio.gather(*in_flight, late, return_exceptions=True)
    assert isinstance(answers[-1], BackendUnavailableError)
    assert all(answer is None or isinstance(answer, ArnoError) for answer in answers)
    kafka_broker.start()
    # Until the broker leads its partitions again, a record may expire once more.
    await publisher.publish(Record(Lane.BATCH, b"after"), timeout_s=60)
    await publisher.close()


async def test_close_during_an_outage_ends_and_tells_those_who_wait(
    settings: BusSettings, kafka_broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_settings, "DELIVERY_TIMEOUT_S", 120.0)
    publisher = make_publisher(settings)
    await publisher.start()
    kafka_broker.kill()
    waiting = asyncio.create_task(publisher.publish(Record(Lane.BATCH, b"x"), timeout_s=120))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await publisher.close()
        with pytest.raises(BackendUnavailableError):
            await waiting


async def test_publisher_does_not_spin_while_the_broker_says_nothing(
    settings: BusSettings, kafka_broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = make_publisher(settings)
    await publisher.start()
    asked: list[float] = []
    delay_ms = PacedClient.connection_delay

    def noted(client: PacedClient, node_id: int) -> float:
        asked.append(time.monotonic())
        return delay_ms(client, node_id)

    monkeypatch.setattr(PacedClient, "connection_delay", noted)
    with frozen(kafka_broker):
        # More than the requests that may be open at once, one after the other: the rest waits.
        sending = []
        while not asked:
            record = Record(Lane.BATCH, b"x" * 100_000)
            sending.append(asyncio.create_task(publisher.publish(record, timeout_s=60)))
            await asyncio.sleep(0.01)
        from_s = time.monotonic()
        await asyncio.wait(sending, timeout=1.0)
        rounds = sum(at_s >= from_s for at_s in asked)
    await asyncio.gather(*sending)
    await publisher.close()
    assert rounds < 200
