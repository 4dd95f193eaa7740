"""Creates and inspects Arno's streams, and reads the one of dead letters."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import redis

from arno.bus.ports import DEAD_LETTERS, DeadRecord, topic_name
from arno.bus.redis_streams.connection import connect, translate
from arno.bus.redis_streams.entries import Entry
from arno.bus.settings import BusSettings
from arno.errors import BackendUnavailableError
from arno.vocabulary import Lane

_READ_COUNT_MAX: Final = 16


class RedisStreamsAdmin:
    """Implements ``TopicAdmin`` on Redis Streams. Blocking; connects with its first call."""

    def __init__(self, settings: BusSettings) -> None:
        """Take the settings; nothing is connected yet."""
        self._settings = settings
        self._client = connect(settings)
        self._channels = [*(lane.value for lane in Lane), DEAD_LETTERS]

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
        except redis.RedisError as fault:
            raise translate(fault) from fault

    def describe(self) -> Mapping[str, int]:
        """Return 1, a stream's one partition, for every channel whose stream exists."""
        try:
            return {
                channel: 1
                for channel in self._channels
                if self._client.exists(topic_name(self._settings.topic_prefix, channel))
            }
        except redis.RedisError as fault:
            raise translate(fault) from fault

    def retention_faults(self) -> list[str]:
        """Return nothing: a stream keeps its entries until they are done."""
        return []

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

    The group begins with the oldest entry, so that it gets all that was published before.
    """
    key = topic_name(settings.topic_prefix, channel)
    try:
        client.xgroup_create(key, settings.group, id="0", mkstream=True)
    except redis.ResponseError as fault:
        if str(fault).startswith("BUSYGROUP"):
            return False
        raise
    return True


class RedisStreamsDeadLetterQueue:
    """Implements ``DeadLetterQueue`` on Redis Streams; reads without the group, claims nothing."""

    def __init__(self, settings: BusSettings) -> None:
        """Take the settings; nothing is connected yet."""
        self._settings = settings
        self._key = topic_name(settings.topic_prefix, DEAD_LETTERS)
        self._client = connect(settings)

    def read(self) -> Iterator[DeadRecord]:
        """Yield the records up to the newest that the stream has now."""
        self._require_stream()
        start, newest = "-", self._newest()
        while newest and (page := self._page(start, newest)):
            for position, fields in page:
                entry = Entry(DEAD_LETTERS, position.decode(), fields)
                yield DeadRecord(entry.position, entry.record.value, entry.appended_at_ms)
            start = f"({page[-1][0].decode()}"

    def purge(self, before_ms: int) -> int:
        """Remove the records that were stored before a moment."""
        try:
            return int(self._client.xtrim(self._key, minid=f"{before_ms}-0", approximate=False))
        except redis.RedisError as fault:
            raise translate(fault) from fault

    def close(self) -> None:
        """Disconnect. Idempotent."""
        self._client.close()

    def _require_stream(self) -> None:
        admin = RedisStreamsAdmin(self._settings)
        try:
            admin.require([DEAD_LETTERS])
        finally:
            admin.close()

    def _newest(self) -> str:
        try:
            entries: Any = self._client.xrevrange(self._key, count=1)
        except redis.RedisError as fault:
            raise translate(fault) from fault
        return entries[0][0].decode() if entries else ""

    def _page(self, start: str, end: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        try:
            page: Any = self._client.xrange(self._key, start, end, count=_READ_COUNT_MAX)
        except redis.RedisError as fault:
            raise translate(fault) from fault
        return list(page)
