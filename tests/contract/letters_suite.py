"""What every bus's dead channel does: letters are read without being taken, and purged by age."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from arno.bus import DEAD, BusSettings, LetterBox, Record, make_admin, make_letter_box
from arno.errors import BackendUnavailableError
from support.bus_load import publish_all
from support.eventually import eventually
from support.polled_consumer import PolledConsumer


class LettersSuite:
    """Needs the fixture ``settings`` (own topics, not yet created)."""

    @pytest.fixture
    def box(self, settings: BusSettings) -> Iterator[LetterBox]:
        admin = make_admin(settings)
        admin.ensure_topics()
        admin.close()
        with contextlib.closing(make_letter_box(settings)) as made:
            yield made

    def test_letters_are_read_whole_and_stay(self, settings: BusSettings, box: LetterBox) -> None:
        assert list(box.read()) == []
        # More than one page, and one as large as a record may be.
        sent = [b"%d" % number for number in range(40)] + [b"x" * settings.record_bytes_max]
        publish_all(settings, [Record(DEAD, value) for value in sent])
        first, again = list(box.read()), list(box.read())
        assert first == again
        assert sorted(letter.value for letter in first) == sorted(sent)
        assert len({letter.id for letter in first}) == len(sent)

    def test_reading_takes_nothing_from_a_consumer(
        self, settings: BusSettings, box: LetterBox
    ) -> None:
        publish_all(settings, [Record(DEAD, b"one")])
        assert [letter.value for letter in box.read()] == [b"one"]
        with PolledConsumer(settings, [DEAD]) as consumer:
            eventually(lambda: consumer.values)
        assert consumer.values == [b"one"]

    def test_purge_removes_what_is_older_and_nothing_else(
        self, settings: BusSettings, box: LetterBox
    ) -> None:
        publish_all(settings, [Record(DEAD, b"%d" % number) for number in range(10)])
        (newest_ms,) = {max(letter.appended_at_ms for letter in box.read())}
        assert box.purge(newest_ms - 60_000) == 0
        assert box.purge(newest_ms + 1) == 10
        assert list(box.read()) == []
        publish_all(settings, [Record(DEAD, b"young")])
        assert box.purge(newest_ms) == 0
        assert [letter.value for letter in box.read()] == [b"young"]

    def test_missing_channel_is_said(self, settings: BusSettings) -> None:
        with (
            contextlib.closing(make_letter_box(settings)) as box,
            pytest.raises(BackendUnavailableError, match=r"arno topics create"),
        ):
            list(box.read())
