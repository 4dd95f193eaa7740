"""The rules of every bus's dead-letter queue: reading takes nothing, and purging goes by age."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from arno.bus import (
    DEAD_LETTERS,
    BusSettings,
    DeadLetterQueue,
    Record,
    make_admin,
    make_dead_letter_queue,
)
from arno.errors import BackendUnavailableError
from support.bus_load import publish_all
from support.eventually import eventually
from support.polled_consumer import PolledConsumer


class DeadLettersSuite:
    """Needs the fixture ``settings`` (own topics, not yet created)."""

    @pytest.fixture
    def queue(self, settings: BusSettings) -> Iterator[DeadLetterQueue]:
        admin = make_admin(settings)
        admin.ensure_topics()
        admin.close()
        with contextlib.closing(make_dead_letter_queue(settings)) as made:
            yield made

    def test_letters_are_read_whole_and_stay(
        self, settings: BusSettings, queue: DeadLetterQueue
    ) -> None:
        assert list(queue.read()) == []
        # More than one page, and one as large as a record may be.
        sent = [b"%d" % number for number in range(40)] + [b"x" * settings.record_bytes_max]
        publish_all(settings, [Record(DEAD_LETTERS, value) for value in sent])
        first, again = list(queue.read()), list(queue.read())
        assert first == again
        assert sorted(letter.value for letter in first) == sorted(sent)
        assert len({letter.id for letter in first}) == len(sent)

    def test_reading_takes_nothing_from_a_consumer(
        self, settings: BusSettings, queue: DeadLetterQueue
    ) -> None:
        publish_all(settings, [Record(DEAD_LETTERS, b"one")])
        assert [letter.value for letter in queue.read()] == [b"one"]
        with PolledConsumer(settings, [DEAD_LETTERS]) as consumer:
            eventually(lambda: consumer.values)
        assert consumer.values == [b"one"]

    def test_purge_removes_what_is_older_and_nothing_else(
        self, settings: BusSettings, queue: DeadLetterQueue
    ) -> None:
        publish_all(settings, [Record(DEAD_LETTERS, b"%d" % number) for number in range(10)])
        (newest_ms,) = {max(letter.appended_at_ms for letter in queue.read())}
        assert queue.purge(newest_ms - 60_000) == 0
        assert queue.purge(newest_ms + 1) == 10
        assert list(queue.read()) == []
        publish_all(settings, [Record(DEAD_LETTERS, b"young")])
        assert queue.purge(newest_ms) == 0
        assert [letter.value for letter in queue.read()] == [b"young"]

    def test_missing_channel_is_said(self, settings: BusSettings) -> None:
        with (
            contextlib.closing(make_dead_letter_queue(settings)) as queue,
            pytest.raises(BackendUnavailableError, match=r"arno topics create"),
        ):
            list(queue.read())
