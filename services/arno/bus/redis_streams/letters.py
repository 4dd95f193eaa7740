"""Looks at the dead stream, and removes what is old there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import redis

from arno.bus.ports import DEAD, Letter, topic_name
from arno.bus.redis_streams.admin import RedisStreamsAdmin
from arno.bus.redis_streams.connection import connect, translate
from arno.bus.redis_streams.entries import Entry
from arno.bus.settings import BusSettings

_READ_COUNT_MAX = 16


class RedisStreamsLetterBox:
    """Implements ``LetterBox`` on Redis Streams: it reads beside the group, and claims nothing."""

    def __init__(self, settings: BusSettings) -> None:
        """Take the settings; nothing is connected yet."""
        self._settings = settings
        self._key = topic_name(settings.topic_prefix, DEAD)
        self._client = connect(settings)

    def read(self) -> Iterator[Letter]:
        """Yield the letters up to the newest that the stream has now."""
        self._require_stream()
        start, newest = "-", self._newest()
        while newest and (page := self._page(start, newest)):
            for position, fields in page:
                entry = Entry(DEAD, position.decode(), fields)
                yield Letter(entry.position, entry.record.value, entry.appended_at_ms)
            start = f"({page[-1][0].decode()}"

    def purge(self, before_ms: int) -> int:
        """Remove what was stored before a moment."""
        try:
            return int(self._client.xtrim(self._key, minid=f"{before_ms}-0", approximate=False))
        except redis.RedisError as error:
            raise translate(error) from error

    def close(self) -> None:
        """Disconnect. Idempotent."""
        self._client.close()

    def _require_stream(self) -> None:
        admin = RedisStreamsAdmin(self._settings)
        try:
            admin.require([DEAD])
        finally:
            admin.close()

    def _newest(self) -> str:
        try:
            entries: Any = self._client.xrevrange(self._key, count=1)
        except redis.RedisError as error:
            raise translate(error) from error
        return entries[0][0].decode() if entries else ""

    def _page(self, start: str, end: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        try:
            page: Any = self._client.xrange(self._key, start, end, count=_READ_COUNT_MAX)
        except redis.RedisError as error:
            raise translate(error) from error
        return list(page)
