"""Which sequences are in the engine: deadlines that come, and those that nobody waits for."""

from __future__ import annotations

import tracemalloc

from arno.engine.interface import DecodingOptions, SequenceRequest
from arno.engine.live_sequences import LiveSequence, LiveSequences, Unwanted
from arno.engine.null_engine import NullEngine
from arno.engine.settings import EngineSettings
from arno.vocabulary import FinishReason
from support import images
from support.clock import ManualClock

DAY_S = 86_400.0
IMAGE = NullEngine(EngineSettings(model="null")).prepare(images.png(8, 8))


def sequence(name: str, deadline_s: float) -> LiveSequence:
    request = SequenceRequest(
        sequence_id=name,
        image=IMAGE,
        prompt="What?",
        options=DecodingOptions(),
        deadline_s=deadline_s,
        lane="interactive",
        tenant="t",
        expected_token_count=12,
    )
    return LiveSequence(request, (), 0.0)


def test_what_has_ended_is_not_kept_until_its_deadline():
    live = LiveSequences(ManualClock(0.0))
    live.add(sequence("waits", DAY_S))
    tracemalloc.start()
    try:
        for number in range(5_000):
            live.add(sequence(str(number), DAY_S + number))
            live.remove(str(number))
        grown_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown_bytes < 150_000


def test_deadline_of_one_among_many_that_have_ended_is_met():
    clock = ManualClock(0.0)
    live = LiveSequences(clock)
    live.add(sequence("late", 5.0))
    for number in range(2_000):
        live.add(sequence(str(number), 1.0 + number))
        live.remove(str(number))
    assert live.unwanted() == []
    clock.advance(6.0)
    assert live.unwanted() == [Unwanted("late", FinishReason.DEADLINE)]
