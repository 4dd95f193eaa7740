"""The bus that the settings ask for. The only place that names the adapters."""

from __future__ import annotations

from collections.abc import Sequence

from arno.bus.ports import Consumer, LetterBox, Publisher, TopicAdmin
from arno.bus.settings import BusSettings
from arno.errors import MissingExtraError


def make_publisher(settings: BusSettings) -> Publisher:
    """Return a publisher that has yet to be started."""
    try:
        if settings.bus == "kafka":
            from arno.bus.kafka import KafkaPublisher

            return KafkaPublisher(settings)
        from arno.bus.redis_streams import RedisStreamsPublisher

        return RedisStreamsPublisher(settings)
    except ImportError as error:
        raise _missing(settings) from error


def make_consumer(settings: BusSettings, channels: Sequence[str]) -> Consumer:
    """Return a consumer of these channels that has yet to be started.

    All channels of one consumer share its window, so that a backlog in one can fill it. Lanes that
    must not wait for each other take a consumer each.
    """
    try:
        if settings.bus == "kafka":
            from arno.bus.kafka import KafkaConsumer

            return KafkaConsumer(settings, channels)
        from arno.bus.redis_streams import RedisStreamsConsumer

        return RedisStreamsConsumer(settings, channels)
    except ImportError as error:
        raise _missing(settings) from error


def make_admin(settings: BusSettings) -> TopicAdmin:
    """Return an admin, which connects with its first call."""
    try:
        if settings.bus == "kafka":
            from arno.bus.kafka import KafkaTopicAdmin

            return KafkaTopicAdmin(settings)
        from arno.bus.redis_streams import RedisStreamsAdmin

        return RedisStreamsAdmin(settings)
    except ImportError as error:
        raise _missing(settings) from error


def make_letter_box(settings: BusSettings) -> LetterBox:
    """Return a view of the dead channel, which connects with its first call."""
    try:
        if settings.bus == "kafka":
            from arno.bus.kafka import KafkaLetterBox

            return KafkaLetterBox(settings)
        from arno.bus.redis_streams import RedisStreamsLetterBox

        return RedisStreamsLetterBox(settings)
    except ImportError as error:
        raise _missing(settings) from error


def _missing(settings: BusSettings) -> MissingExtraError:
    return MissingExtraError(
        f"bus {settings.bus!r} needs its client: pip install 'arno[server]'", extra="server"
    )
