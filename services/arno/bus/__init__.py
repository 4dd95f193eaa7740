"""The bus: records go from gateways to workers, each delivered at least once.

Read in this order: ``ports`` (what every bus can do), ``offsets`` (why nothing is lost when records
finish in any order), ``limits`` (back-pressure), then an adapter: ``kafka`` for production,
``redis_streams`` for one machine. ``dead_letters`` reads and replays jobs that were given up.
``docs/delivery.md`` says what happens when parts fail.

The functions here are the only place that names the adapters, and import only the one in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from arno.bus.ports import (
    DEAD_LETTERS,
    Consumer,
    ConsumerStatistics,
    DeadLetterQueue,
    DeadRecord,
    Delivery,
    Publisher,
    Receipt,
    Record,
    TopicAdmin,
    topic_name,
)
from arno.bus.settings import BusSettings
from arno.errors import MissingExtraError
from arno.vocabulary import Lane

__all__ = [
    "DEAD_LETTERS",
    "BusSettings",
    "Consumer",
    "ConsumerStatistics",
    "DeadLetterQueue",
    "DeadRecord",
    "Delivery",
    "Lane",
    "Publisher",
    "Receipt",
    "Record",
    "TopicAdmin",
    "make_admin",
    "make_consumer",
    "make_dead_letter_queue",
    "make_publisher",
    "topic_name",
]


def make_publisher(settings: BusSettings) -> Publisher:
    """Return a publisher that is not started yet."""
    with _client_required(settings):
        if settings.bus == "kafka":
            from arno.bus.kafka import KafkaPublisher

            return KafkaPublisher(settings)
        from arno.bus.redis_streams import RedisStreamsPublisher

        return RedisStreamsPublisher(settings)


def make_consumer(settings: BusSettings, channels: Sequence[str]) -> Consumer:
    """Return a consumer of these channels that is not started yet.

    All channels of one consumer share its window, so that a backlog in one can fill it. Lanes that
    must not wait for each other take a consumer each.
    """
    with _client_required(settings):
        if settings.bus == "kafka":
            from arno.bus.kafka import KafkaConsumer

            return KafkaConsumer(settings, channels)
        from arno.bus.redis_streams import RedisStreamsConsumer

        return RedisStreamsConsumer(settings, channels)


def make_admin(settings: BusSettings) -> TopicAdmin:
    """Return an admin, which connects with its first call."""
    with _client_required(settings):
        if settings.bus == "kafka":
            from arno.bus.kafka import KafkaTopicAdmin

            return KafkaTopicAdmin(settings)
        from arno.bus.redis_streams import RedisStreamsAdmin

        return RedisStreamsAdmin(settings)


def make_dead_letter_queue(settings: BusSettings) -> DeadLetterQueue:
    """Return a view of the dead-letter channel, which connects with its first call."""
    with _client_required(settings):
        if settings.bus == "kafka":
            from arno.bus.kafka import KafkaDeadLetterQueue

            return KafkaDeadLetterQueue(settings)
        from arno.bus.redis_streams import RedisStreamsDeadLetterQueue

        return RedisStreamsDeadLetterQueue(settings)


@contextmanager
def _client_required(settings: BusSettings) -> Iterator[None]:
    try:
        yield
    except ImportError as fault:
        raise MissingExtraError(
            f"bus {settings.bus!r} needs its client: pip install 'arno[server]'", extra="server"
        ) from fault
