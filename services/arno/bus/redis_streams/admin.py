"""Creates and inspects Arno's streams."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import redis

from arno.bus.ports import DEAD, Lane, topic_name
from arno.bus.redis_streams.connection import connect, translate
from arno.bus.settings import BusSettings
from arno.errors import BackendUnavailableError


class RedisStreamsAdmin:
    """Implements ``TopicAdmin`` on Redis Streams. Blocking; connects with its first call."""

    def __init__(self, settings: BusSettings) -> None:
        """Take the settings; nothing is connected yet."""
        self._settings = settings
        self._client = connect(settings)
        self._channels = [*(lane.value for lane in Lane), DEAD]

    def ensure_topics(self) -> list[str]:
        """Create the missing streams, each with the workers' group; return their names."""
        existing = self.describe()
        missing = [channel for channel in self._channels if channel not in existing]
        try:
            return [
                topic_name(self._settings.topic_prefix, channel)
                for channel in missing
                if create_group(self._client, self._settings, channel)
            ]
        except redis.RedisError as error:
            raise translate(error) from error

    def describe(self) -> Mapping[str, int]:
        """Return 1, a stream's one partition, for every channel whose stream exists."""
        try:
            return {
                channel: 1
                for channel in self._channels
                if self._client.exists(topic_name(self._settings.topic_prefix, channel))
            }
        except redis.RedisError as error:
            raise translate(error) from error

    def require(self, channels: Collection[str]) -> None:
        """Check that the streams of these channels exist.

        Raises:
            BackendUnavailableError: One is missing, or Redis cannot be reached.
        """
        missing = sorted(set(channels) - self.describe().keys())
        if missing:
            names = [topic_name(self._settings.topic_prefix, channel) for channel in missing]
            raise BackendUnavailableError(
                f"redis: no stream {', '.join(names)}; `arno topics create` creates it",
                topics=",".join(names),
            )

    def close(self) -> None:
        """Disconnect. Idempotent."""
        self._client.close()


def create_group(client: redis.Redis, settings: BusSettings, channel: str) -> bool:
    """Create the group of a channel, and its stream; False when it is there already.

    The group begins with the oldest entry, so that nothing published before it is missed.
    """
    key = topic_name(settings.topic_prefix, channel)
    try:
        client.xgroup_create(key, settings.group, id="0", mkstream=True)
    except redis.ResponseError as error:
        if str(error).startswith("BUSYGROUP"):
            return False
        raise
    return True
