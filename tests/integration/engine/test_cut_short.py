"""Deadlines and cancels reach a running batch, and cost its other members nothing."""

from __future__ import annotations

import pytest
from arno.tasks import FinishReason
from support.engine_runs import BEAMS, GREEDY, picture, request, run_all, submit_all

pytestmark = pytest.mark.model


def at_token(engine, monkeypatch, token_count, act):
    """Do something when the running batch has so many tokens."""
    counts = type(engine._counts)
    stepped = counts.stepped
    steps = []

    def watched(self, sequence_count):
        stepped(self, sequence_count)
        steps.append(sequence_count)
        if len(steps) == token_count:
            act()

    monkeypatch.setattr(counts, "stepped", watched)
    return steps


def test_a_waiting_sequence_past_its_deadline_never_runs(engine, clock):
    engine.submit(request("late", engine.prepare(picture(0)), deadline_s=clock.now_s() + 1))
    clock.advance(1)
    (end,) = engine.step()
    assert (end.finish_reason, end.token_ids, end.decode_s) == (FinishReason.DEADLINE, (), 1.0)
    assert engine.statistics().encoded_image_count == 0


def test_a_waiting_sequence_that_is_cancelled_never_runs(engine):
    engine.submit(request("gone", engine.prepare(picture(0))))
    engine.cancel("gone")
    engine.cancel("unknown")
    (end,) = engine.step()
    assert (end.finish_reason, end.token_ids) == (FinishReason.CANCELLED, ())
    assert engine.statistics().encoded_image_count == 0


def test_a_sequence_cancelled_between_encoding_and_decoding_is_not_decoded(engine):
    engine.submit(request("gone", engine.prepare(picture(0))))
    engine.step()
    engine.cancel("gone")
    (end,) = engine.step()
    assert end.finish_reason is FinishReason.CANCELLED
    assert (engine.statistics().step_count, engine.statistics().running_count) == (0, 0)


@pytest.mark.parametrize("options", [GREEDY, BEAMS], ids=["greedy", "beams"])
def test_a_batch_that_nobody_wants_stops_at_once(engine, monkeypatch, options):
    images = [engine.prepare(picture(i)) for i in range(2)]
    submit_all(engine, [request(f"s{i}", images[i], options=options) for i in range(2)])
    cancel = lambda: [engine.cancel(f"s{i}") for i in range(2)]  # noqa: E731 - one line reads best
    steps = at_token(engine, monkeypatch, 3, cancel)
    ends = run_all(engine)
    assert len(steps) == 3
    assert {end.finish_reason for end in ends.values()} == {FinishReason.CANCELLED}
    assert all(1 <= len(end.token_ids) <= 3 for end in ends.values())


@pytest.mark.parametrize("options", [GREEDY, BEAMS], ids=["greedy", "beams"])
def test_one_that_is_cut_short_keeps_its_prefix_and_the_others_their_answers(
    engine, reference, monkeypatch, clock, options
):
    requests = [
        request(f"s{i}", engine.prepare(picture(i)), "Where", options, deadline_s=deadline_s)
        for i, deadline_s in enumerate([None, clock.now_s() + 5, None])
    ]
    submit_all(engine, requests)
    at_token(engine, monkeypatch, 2, lambda: clock.advance(10))
    ends = run_all(engine)
    assert ends["s1"].finish_reason is FinishReason.DEADLINE
    assert len(ends["s1"].token_ids) == len(ends["s1"].logprobs) == 2
    if options is GREEDY:
        assert ends["s1"].token_ids == reference.answer(requests[1])[:2]
    for index in (0, 2):
        assert ends[f"s{index}"].token_ids == reference.answer(requests[index])


def test_an_answer_that_was_complete_before_its_deadline_is_complete(
    engine, reference, monkeypatch, clock
):
    """Static batches hold an early answer back until the last one is done."""
    candidates = [request(f"s{i}", engine.prepare(picture(i)), options=GREEDY) for i in range(8)]
    by_length = sorted(candidates, key=lambda asked: len(reference.answer(asked)))
    short, long = by_length[0], by_length[-1]
    short_length = len(reference.answer(short))
    assert short_length < len(reference.answer(long)) - 1
    engine.submit(request("short", short.image, options=GREEDY, deadline_s=clock.now_s() + 5))
    engine.submit(request("long", long.image, options=GREEDY))
    at_token(engine, monkeypatch, short_length + 1, lambda: clock.advance(10))
    end = run_all(engine)["short"]
    assert end.finish_reason is FinishReason.STOP
    assert end.token_ids == reference.answer(short)


def test_an_id_may_come_again_after_a_cancel(engine):
    image = engine.prepare(picture(0))
    engine.submit(request("s", image))
    engine.cancel("s")
    run_all(engine)
    engine.cancel("s")
    engine.submit(request("s", image))
    assert run_all(engine)["s"].finish_reason is not FinishReason.CANCELLED


def test_an_id_in_use_is_refused(engine):
    engine.submit(request("s", engine.prepare(picture(0))))
    with pytest.raises(ValueError, match="in the engine already"):
        engine.submit(request("s", engine.prepare(picture(0))))


def test_times_add_up(engine, clock, monkeypatch):
    engine.submit(request("s", engine.prepare(picture(0))))
    at_token(engine, monkeypatch, 2, lambda: clock.advance(3))
    end = run_all(engine)["s"]
    assert end.encode_s > 0
    assert end.decode_s == pytest.approx(3 - end.encode_s)


def test_progress_tells_of_encoding_before_the_answer(engine):
    engine.submit(request("s", engine.prepare(picture(0))))
    (progress,) = engine.step()
    assert (progress.sequence_id, progress.encoded, progress.token_count) == ("s", True, 0)
    (end,) = engine.step()
    assert end.finish_reason in {FinishReason.STOP, FinishReason.LENGTH}
    assert engine.step() == []
