"""The bus on Redis Streams: a stream for each lane, a consumer group for the workers."""

from arno.bus.redis_streams.admin import RedisStreamsAdmin, RedisStreamsDeadLetterQueue
from arno.bus.redis_streams.consumer import RedisStreamsConsumer
from arno.bus.redis_streams.publisher import RedisStreamsPublisher

__all__ = [
    "RedisStreamsAdmin",
    "RedisStreamsConsumer",
    "RedisStreamsDeadLetterQueue",
    "RedisStreamsPublisher",
]
