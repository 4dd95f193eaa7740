"""What the flood of one sender leaves to the others on Kafka."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress

import pytest
from arno.bus import BusSettings, Record, make_consumer, make_publisher, topic_name
from arno.bus.ports import Delivery
from arno.errors import BackendUnavailableError
from arno.vocabulary import Lane
from kafka import KafkaAdminClient
from support import builders
from support.bus_load import publish_all
from support.eventually import eventually, eventually_async
from support.kafka_broker import KafkaBroker

pytestmark = pytest.mark.kafka

FLOOD, OTHERS, WINDOW = 400, 12, 16


@pytest.fixture
def settings(kafka_broker: KafkaBroker, unique_prefix: str) -> BusSettings:
    return builders.kafka_bus(kafka_broker, unique_prefix, partitions=8, window=WINDOW)


def test_records_behind_the_flood_of_another_key_come_soon_and_none_is_forgotten(
    settings: BusSettings,
) -> None:
    flood = [Record(Lane.BATCH, b"flood", spread_key="flood") for _ in range(FLOOD)]
    others = [Record(Lane.BATCH, b"other", spread_key="other") for _ in range(OTHERS)]
    publish_all(settings, [*flood, *others])
    consumer = make_consumer(settings, [Lane.BATCH])
    consumer.start()
    came: list[bytes] = []
    in_hand: deque = deque()
    until_s = time.monotonic() + 40
    while len(came) < FLOOD + OTHERS and time.monotonic() < until_s:
        deliveries = consumer.poll(0.05)
        came += [delivery.record.value for delivery in deliveries]
        in_hand.extend(deliveries)
        assert len(in_hand) <= WINDOW
        # A worker that is slower than the bus: one record is done for every poll.
        if in_hand:
            consumer.done(in_hand.popleft().receipt)
    consumer.close()
    assert len(came) == FLOOD + OTHERS
    last = max(n for n, value in enumerate(came) if value == b"other")
    assert last < FLOOD // 2


def test_fetches_are_short_while_partitions_are_left_out(settings: BusSettings) -> None:
    publish_all(settings, [Record(Lane.BATCH, b"flood", spread_key="flood") for _ in range(FLOOD)])
    consumer = make_consumer(settings, [Lane.BATCH])
    consumer.start()
    in_hand: list[Delivery] = []

    def wait_ms() -> int:
        in_hand.extend(consumer.poll(0.05))
        return consumer._member.client._fetcher.config["fetch_max_wait_ms"]

    # What comes for a partition that is paused waits for the end of a fetch without it.
    eventually(lambda: wait_ms() == 10 and len(in_hand) >= WINDOW // 2, what="a short fetch")

    def done_wait_ms() -> int:
        while in_hand:
            consumer.done(in_hand.pop().receipt)
        return wait_ms()

    eventually(lambda: done_wait_ms() == 100 and not in_hand, what="a long fetch")
    consumer.close()


def test_no_partition_is_left_out_while_the_client_has_returned_all_it_fetched(
    settings: BusSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = WINDOW // 4 + 1
    publish_all(settings, [Record(Lane.BATCH, b"flood", spread_key="flood") for _ in range(crowd)])
    consumer = make_consumer(settings, [Lane.BATCH])
    consumer.start()
    in_hand: list[Delivery] = []

    def crowded() -> bool:
        in_hand.extend(consumer.poll(0.05))
        return len(in_hand) == crowd

    eventually(crowded, what="a crowded window")
    left_out: list[object] = []
    monkeypatch.setattr(consumer._member.client, "pause", lambda *these: left_out.extend(these))
    for _ in range(3):
        assert not consumer.poll(0.01)
    assert not left_out
    consumer.close()


async def test_records_with_a_key_are_taken_while_the_producer_has_not_heard_of_a_new_partition(
    settings: BusSettings,
) -> None:
    publisher = make_publisher(settings)
    await publisher.start()
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    topic = topic_name(settings.topic_prefix, Lane.BATCH)
    admin.create_partitions({topic: settings.partitions + 1})
    # It comes to brokers one after the other, and the count of records sees it first.
    eventually(lambda: len(admin.describe_topics([topic])[0]["partitions"]) > settings.partitions)
    admin.close()

    async def count() -> int | None:
        # The coordinator of a broker's first group takes a moment.
        with suppress(BackendUnavailableError):
            return (await publisher.unfinished())[Lane.BATCH]
        return None

    async def is_counted() -> bool:
        return await count() is not None

    try:
        await eventually_async(is_counted)
        for sent in range(32):
            record = Record(Lane.BATCH, b"image", spread_key=f"tenant-{sent}")
            await publisher.publish(record, timeout_s=20)
        assert await count() == 32
    finally:
        await publisher.close()
