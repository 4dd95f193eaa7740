"""The patches of kafka-python that need a broker to show what they mend.

The case "unpatched" of a test fails once the library has repaired the defect: then the patch goes.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kafka
import pytest
from arno.bus import BusSettings, Record, topic_name
from arno.bus.kafka.patches import (
    UNPATCHED_READ_MSG,
    PatchedAdmin,
    PatchedConsumer,
    PatchedProducer,
)
from arno.bus.kafka.settings import consumer_config, producer_config, reader_config
from arno.vocabulary import Lane
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.errors import CorruptRecordError, KafkaTimeoutError
from kafka.record.default_records import DefaultRecordBatch
from support import builders
from support.bus_load import publish_all
from support.eventually import Patience
from support.kafka_broker import KafkaBroker
from support.kafka_topics import Latin1, Topics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

UNPATCHED, PATCHED = "unpatched", "patched"

Consumers = Callable[..., kafka.KafkaConsumer]


@pytest.fixture
def settings(kafka_broker: KafkaBroker, unique_prefix: str) -> BusSettings:
    return builders.kafka_bus(kafka_broker, unique_prefix, partitions=2)


@pytest.fixture
def topic(settings: BusSettings) -> str:
    return topic_name(settings.topic_prefix, Lane.BATCH)


@pytest.fixture(params=[UNPATCHED, PATCHED])
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def new_consumer(case: str) -> Iterator[Consumers]:
    made: list[kafka.KafkaConsumer] = []

    def build(**config: object) -> kafka.KafkaConsumer:
        made.append((kafka.KafkaConsumer if case == UNPATCHED else PatchedConsumer)(**config))
        return made[-1]

    yield build
    for consumer in made:
        consumer.close()


@contextmanager
def frozen(broker: KafkaBroker) -> Iterator[None]:
    """Let a broker accept connections and never answer."""
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker.pid, signal.SIGCONT)


def poll_until(
    consumer: kafka.KafkaConsumer, done: Callable[[], bool], *, poll_ms: int, within_s: float
) -> bool:
    patience = Patience(within_s)
    while not done() and patience.spend():
        consumer.poll(poll_ms)
    return done()


def test_poll_spins_on_a_broker_that_never_answers_unless_patched(
    settings: BusSettings,
    topic: str,
    kafka_broker: KafkaBroker,
    case: str,
    new_consumer: Consumers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consumer = new_consumer(**consumer_config(settings))
    consumer.subscribe([topic])
    assert poll_until(consumer, lambda: bool(consumer.assignment()), poll_ms=100, within_s=30)
    coordinator, one_round = consumer._coordinator, consumer._poll_once
    late_rounds: list[int] = []  # of each poll that began with a late heartbeat

    def counted(*args: object, **options: object) -> object:
        if late_rounds:
            late_rounds[-1] += 1
        return one_round(*args, **options)

    def spins_or_rests() -> bool:
        # By the library's own method: the patch replaces that of the object.
        if ConsumerCoordinator.time_to_next_poll(coordinator) <= 0:
            late_rounds.append(0)
        return max(late_rounds, default=0) > 20 or len(late_rounds) > 20

    monkeypatch.setattr(consumer, "_poll_once", counted)
    with frozen(kafka_broker):
        assert poll_until(consumer, spins_or_rests, poll_ms=100, within_s=60)
    assert (max(late_rounds) > 20) == (case == UNPATCHED)


def test_join_that_outlasts_a_poll_is_forgotten_unless_patched(
    settings: BusSettings, topic: str, case: str, new_consumer: Consumers
) -> None:
    consumer = new_consumer(**{**consumer_config(settings), "metadata_max_age_ms": 200})
    consumer.subscribe([topic])
    assert poll_until(consumer, lambda: len(consumer.assignment()) == 2, poll_ms=1000, within_s=30)
    admin = kafka.KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    coordinator = consumer._coordinator

    def forgotten() -> bool:
        # Under way, and the next poll will not wait for it.
        return coordinator.rejoining and not coordinator.need_rejoin()

    def ends_forgotten(count: int) -> bool:
        admin.create_partitions({topic: count})
        seen = lambda: forgotten() or len(consumer.assignment()) == count  # noqa: E731
        assert poll_until(consumer, seen, poll_ms=1, within_s=30)
        return len(consumer.assignment()) < count

    if case == UNPATCHED:
        # A join may be quicker than a poll: then the next one.
        assert any(ends_forgotten(count) for count in range(3, 12))
    else:
        admin.create_partitions({topic: 3})
        joined = lambda: len(consumer.assignment()) == 3  # noqa: E731
        assert poll_until(consumer, joined, poll_ms=1, within_s=30)
    admin.close()


def test_every_poll_asks_for_a_coordinator_that_is_known_unless_patched(
    settings: BusSettings, topic: str, case: str, new_consumer: Consumers
) -> None:
    consumer = new_consumer(**consumer_config(settings))
    consumer.subscribe([topic])
    assert poll_until(consumer, lambda: bool(consumer.assignment()), poll_ms=100, within_s=30)
    visits: list[str] = []
    run = consumer._net.run

    def noted(work: Callable[..., object], *args: object) -> object:
        visits.append(work.__name__)
        return run(work, *args)

    consumer._net.run = noted
    consumer.poll(10)
    assert ("ensure_coordinator_ready_async" in visits) == (case == UNPATCHED)


def test_records_of_a_paused_partition_are_lost_unless_patched(
    settings: BusSettings, topic: str, case: str, new_consumer: Consumers
) -> None:
    publish_all(settings, [Record(Lane.BATCH, b"%d" % number) for number in range(60)])
    consumer = new_consumer(**reader_config(settings))
    partitions = [kafka.TopicPartition(topic, number) for number in range(2)]
    consumer.assign(partitions)
    counts = consumer.end_offsets(partitions)
    assert all(count > 5 for count in counts.values())
    consumer.seek_to_beginning(*partitions)
    taken = dict.fromkeys(partitions, 0)

    def take(within_s: float, *, one: bool = False) -> None:
        patience = Patience(within_s)
        while patience.spend():
            for partition, records in consumer.poll(100, max_records=1).items():
                taken[partition] += len(records)
                if one:
                    return

    take(10.0, one=True)
    (paused,) = [partition for partition, count in taken.items() if count]
    (other,) = [partition for partition in partitions if partition != paused]
    consumer.pause(paused)
    patience = Patience(10)
    while taken[other] < counts[other] and patience.spend():
        take(0.2)
    assert taken == {paused: 1, other: counts[other]}
    consumer.resume(paused)
    take(3.0)
    assert (taken[paused] == counts[paused]) == (case == PATCHED)


def test_record_with_a_header_name_that_is_no_utf8_ends_a_partition_unless_patched(
    settings: BusSettings,
    case: str,
    new_consumer: Consumers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if case == UNPATCHED:
        monkeypatch.setattr(DefaultRecordBatch, "_read_msg", UNPATCHED_READ_MSG)
    topics = Topics(settings.kafka_bootstrap)
    topic = topics.create(f"{settings.topic_prefix}.foreign")
    named = {"headers": [(Latin1("größe"), b"7"), ("plain", b"8")]}
    # In one batch, as writers send them.
    values = [b"before", b"in", b"after"]
    topics.write(
        topic,
        [{"value": values[0]}, {"value": values[1], **named}, {"value": values[2]}],
        linger_ms=200,
    )
    topics.close()
    consumer = new_consumer(**reader_config(settings))
    partition = kafka.TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    found: list[Any] = []

    def all_came() -> bool:
        return len(found) == len(values)

    def take() -> None:
        patience = Patience(10)
        while not all_came() and patience.spend():
            found.extend(consumer.poll(100).get(partition, ()))

    if case == UNPATCHED:
        with pytest.raises(CorruptRecordError, match="UnicodeDecodeError"):
            take()
        return
    take()
    assert [one.value for one in found] == values
    assert found[1].headers == [("gr\ufffd\ufffde", b"7"), ("plain", b"8")]


def test_close_leaves_the_sender_running_unless_patched(
    settings: BusSettings, topic: str, kafka_broker: KafkaBroker, case: str
) -> None:
    producer_class = kafka.KafkaProducer if case == UNPATCHED else PatchedProducer
    producer = producer_class(**producer_config(settings))
    producer.partitions_for(topic)
    kafka_broker.kill()
    producer.send(topic, b"x")
    if case == UNPATCHED:
        with pytest.raises(KafkaTimeoutError):
            producer.close(0.5)
        assert producer._sender.is_alive()
        producer._sender.force_close()
        producer._sender.join(5)
    producer.close(0.5)
    assert not producer._sender.is_alive()


def test_unpatched_client_floods_the_log(unique_prefix: str) -> None:
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    keep, log = Keep(), logging.getLogger("kafka")
    log.addHandler(keep)
    try:
        with pytest.raises(kafka.errors.KafkaError):
            PatchedAdmin(bootstrap_servers="127.0.0.1:1", bootstrap_timeout_ms=2000)
    finally:
        log.removeHandler(keep)
    assert len([one for one in records if one.levelno >= logging.WARNING]) >= 4
