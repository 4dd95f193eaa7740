"""In which order frames are told that were sent, held or skipped."""

from __future__ import annotations

import pytest
from arno.errors import DeadlineExceededError
from arno.ingest.videos.frames import SampledFrame
from arno.ingest.videos.ledger import Fate, FrameLedger
from support.answered import answered_frame, dropped_frame, failed_frame

SENT, HELD, SKIPPED = Fate.SENT, Fate.HELD, Fate.SKIPPED


def ledger(*fates: Fate, keep_pictures: bool = True) -> FrameLedger:
    made = FrameLedger(keep_pictures=keep_pictures)
    for number, fate in enumerate(fates):
        made.add(SampledFrame(number, 100 * number, b"picture %d" % number), fate)
    return made


def test_frames_are_told_in_order_with_the_answer_that_they_repeat():
    frames = ledger(SENT, HELD, SKIPPED, SENT, HELD)
    first = list(frames.settle(answered_frame(0, 0)))
    assert [(told.frame.sequence, told.held_from) for told in first] == [
        (0, None),
        (1, 0),
        (2, None),
    ]
    assert first[1].result.timestamp_ms == 100
    assert first[2].result.dropped
    then = list(frames.settle(answered_frame(3, 300)))
    assert [(told.frame.sequence, told.held_from) for told in then] == [(3, None), (4, 3)]


def test_frame_that_repeats_no_answer_is_dropped():
    frames = ledger(HELD, SENT, HELD)
    late = DeadlineExceededError("late")
    told = list(frames.settle(failed_frame(1, 100, late)))
    assert [one.result.dropped for one in told] == [True, False, True]


def test_repeated_answer_is_the_last_that_there_was():
    frames = ledger(SENT, SENT, HELD)
    list(frames.settle(answered_frame(0, 0)))
    told = list(frames.settle(dropped_frame(1, 100)))
    assert (told[1].frame.sequence, told[1].held_from) == (2, 0)


def test_rest_tells_what_was_not_sent_and_nothing_else():
    frames = ledger(SENT, SKIPPED)
    list(frames.settle(answered_frame(0, 0)))
    assert list(frames.rest()) == []
    assert [told.frame.sequence for told in ledger(SKIPPED, SKIPPED, SENT).rest()] == [0, 1]


def test_pictures_are_kept_only_for_a_video_and_only_so_many():
    assert next(ledger(SENT, keep_pictures=False).settle(answered_frame(0, 0))).frame.content == b""
    frames = ledger(*[SENT] * 300)
    told = [one for n in range(300) for one in frames.settle(answered_frame(n, n))]
    assert sum(bool(one.frame.content) for one in told) == 256


def test_result_of_another_frame_is_an_error():
    with pytest.raises(RuntimeError, match="frame 0 was answered as 7"):
        list(ledger(SENT).settle(answered_frame(7, 0)))
