"""Publishes to a bus: a list of records at once, or a steady load in the background."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable

from arno.bus import BusSettings, Publisher, Record, make_publisher
from arno.errors import BackendUnavailableError
from arno.vocabulary import Lane
from support.background import Background


def publish_all(settings: BusSettings, records: Iterable[Record], timeout_s: float = 20) -> None:
    """Publish records one after the other, each acknowledged before the next."""

    async def publish() -> None:
        publisher = make_publisher(settings)
        await publisher.start()
        try:
            for record in records:
                await publisher.publish(record, timeout_s=timeout_s)
        finally:
            await publisher.close()

    asyncio.run(publish())


def numbered(count: int, channel: str = Lane.BATCH, first: int = 0) -> list[Record]:
    """Return records whose values are numbers."""
    return [Record(channel, b"%d" % number) for number in range(first, first + count)]


class BackgroundLoad(Background):
    """Publishes numbered records until the end of its ``with``, and notes which were accepted."""

    def __init__(self, settings: BusSettings, *, interval_s: float = 0.01) -> None:
        """Take the pause between two records."""
        super().__init__("load")
        self.acknowledged: set[bytes] = set()
        self.refused_count = 0
        self.sent_count = 0
        self._settings = settings
        self._interval_s = interval_s

    def work(self) -> None:
        """Publish until told to stop, and wait for the answers that are due."""
        asyncio.run(self._publish())

    async def _publish(self) -> None:
        publisher = make_publisher(self._settings)
        await publisher.start()
        async with asyncio.TaskGroup() as sending:
            for number in itertools.count():
                if self.stopping.is_set():
                    break
                sending.create_task(self._publish_one(publisher, number))
                await asyncio.sleep(self._interval_s)
        await publisher.close()

    async def _publish_one(self, publisher: Publisher, number: int) -> None:
        record = Record(Lane.BATCH, b"%d" % number)
        self.sent_count += 1
        try:
            await publisher.publish(record, timeout_s=30)
        except BackendUnavailableError:
            self.refused_count += 1
        else:
            self.acknowledged.add(record.value)
