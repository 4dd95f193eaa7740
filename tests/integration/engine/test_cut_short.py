"""Deadlines and cancels reach a running batch, and cost its other members nothing."""

from __future__ import annotations

import pytest
from arno.engine import DecodingOptions, SequenceFinished, SequenceProgress, continuous_engine
from arno.engine.decoding.pool import DecodePool
from arno.vocabulary import FinishReason
from support.engine_runs import BEAMS, GREEDY, picture, request, run_all, submit_all, until_idle

pytestmark = pytest.mark.model


def at_step(monkeypatch, number, act):
    """Do something after the decode step of that number."""
    step = DecodePool.step
    steps = []

    def watched(self):
        done = step(self)
        steps.append(done.token_count)
        if len(steps) == number:
            act()
        return done

    monkeypatch.setattr(DecodePool, "step", watched)
    return steps


def test_a_waiting_sequence_past_its_deadline_never_runs(engine, clock):
    engine.submit(request("late", engine.prepare(picture(0)), deadline_s=clock.monotonic_s() + 1))
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
def test_a_batch_of_cancelled_sequences_stops_at_once(engine, monkeypatch, options):
    images = [engine.prepare(picture(i)) for i in range(2)]
    submit_all(engine, [request(f"s{i}", images[i], options=options) for i in range(2)])
    cancel = lambda: [engine.cancel(f"s{i}") for i in range(2)]  # noqa: E731 - one line reads best
    steps = at_step(monkeypatch, 3, cancel)
    ends = run_all(engine)
    assert len(steps) == 3
    assert {end.finish_reason for end in ends.values()} == {FinishReason.CANCELLED}
    assert all(len(end.token_ids) == 5 for end in ends.values())


@pytest.mark.parametrize("options", [GREEDY, BEAMS], ids=["greedy", "beams"])
def test_one_that_is_cut_short_keeps_its_prefix_and_the_others_their_answers(
    engine, reference, monkeypatch, clock, options
):
    requests = [
        request(f"s{i}", engine.prepare(picture(i)), "Where", options, deadline_s=deadline_s)
        for i, deadline_s in enumerate([None, clock.monotonic_s() + 5, None])
    ]
    submit_all(engine, requests)
    at_step(monkeypatch, 2, lambda: clock.advance(10))
    ends = run_all(engine)
    assert ends["s1"].finish_reason is FinishReason.DEADLINE
    assert len(ends["s1"].token_ids) == len(ends["s1"].logprobs) == 4
    if options is GREEDY:
        assert ends["s1"].token_ids == reference.answer(requests[1])[:4]
    for index in (0, 2):
        assert ends[f"s{index}"].token_ids == reference.answer(requests[index])


def test_a_short_answer_never_waits_for_a_long_one(engine, reference):
    candidates = [request(f"s{i}", engine.prepare(picture(i)), options=GREEDY) for i in range(8)]
    by_length = sorted(candidates, key=lambda asked: len(reference.answer(asked)))
    short, long = by_length[0], by_length[-1]
    assert len(reference.answer(short)) < len(reference.answer(long)) - 1
    submit_all(engine, [long, short])
    ended = [e.sequence_id for e in until_idle(engine) if isinstance(e, SequenceFinished)]
    assert ended == [short.sequence_id, long.sequence_id]


def test_a_late_comer_joins_the_running_batch(engine, reference):
    first, second = (
        request(f"s{i}", engine.prepare(picture(i)), "Where", GREEDY) for i in range(2)
    )
    engine.submit(first)
    for _ in range(4):
        engine.step()
    engine.submit(second)
    widths = []
    ends = run_all(engine, watch=lambda: widths.append(engine.statistics().batch_size_last))
    assert max(widths) == 2
    for asked in (first, second):
        assert ends[asked.sequence_id].token_ids == reference.answer(asked)


def test_an_id_may_come_again_after_a_cancel(engine):
    image = engine.prepare(picture(0))
    engine.submit(request("s", image))
    engine.cancel("s")
    run_all(engine)
    engine.cancel("s")
    engine.submit(request("s", image))
    assert run_all(engine)["s"].finish_reason is not FinishReason.CANCELLED


def test_an_id_may_come_again_with_the_deadline_that_it_had(engine, clock):
    late = request("s", engine.prepare(picture(0)), deadline_s=clock.monotonic_s() + 1)
    for _ in range(2):
        engine.submit(late)
        engine.cancel("s")
        run_all(engine)
    engine.submit(late)
    clock.advance(1)
    assert run_all(engine)["s"].finish_reason is FinishReason.DEADLINE


def test_an_id_in_use_is_refused(engine):
    engine.submit(request("s", engine.prepare(picture(0))))
    with pytest.raises(ValueError, match="in the engine already"):
        engine.submit(request("s", engine.prepare(picture(0))))


def test_times_add_up(engine, clock, monkeypatch):
    engine.submit(request("s", engine.prepare(picture(0))))
    at_step(monkeypatch, 2, lambda: clock.advance(3))
    end = run_all(engine)["s"]
    assert end.encode_s > 0
    assert end.decode_s == pytest.approx(3 - end.encode_s)


def test_progress_tells_of_encoding_before_the_answer(engine):
    engine.submit(request("s", engine.prepare(picture(0))))
    (progress,) = engine.step()
    assert (progress.sequence_id, progress.encoded, progress.token_count) == ("s", True, 0)
    end = run_all(engine)["s"]
    assert end.finish_reason in {FinishReason.STOP, FinishReason.LENGTH}
    assert engine.step() == []


def test_progress_tells_of_tokens_now_and_then(engine):
    long = DecodingOptions(num_beams=1, max_new_tokens=100, no_repeat_ngram_size=1)
    submit_all(
        engine, [request(f"s{i}", engine.prepare(picture(i)), options=long) for i in range(4)]
    )
    told = [e.token_count for e in until_idle(engine) if isinstance(e, SequenceProgress)]
    assert told[:4] == [0] * 4
    assert max(told) >= 16


def test_an_answer_that_loops_to_its_limit_ends_for_that_reason(engine):
    repeating = DecodingOptions(num_beams=1, max_new_tokens=26, no_repeat_ngram_size=0)
    submit_all(
        engine, [request(f"s{i}", engine.prepare(picture(i)), "?", repeating) for i in (0, 5)]
    )
    ends = run_all(engine)
    assert len(set(ends["s5"].token_ids[12:-1])) == 1, "what this model does with this picture"
    assert (ends["s5"].finish_reason, len(ends["s5"].token_ids)) == (FinishReason.LOOP, 26)
    assert (ends["s0"].finish_reason, len(ends["s0"].token_ids)) == (FinishReason.LENGTH, 26)


def test_a_loop_is_stopped_only_if_the_settings_ask_for_it(make_engine, reference, monkeypatch):
    monkeypatch.setattr(
        continuous_engine, "ends_in_loop", lambda token_ids, _: token_ids[1] == seen
    )
    free, stopping = make_engine(), make_engine(loop_tokens=20)
    long = DecodingOptions(num_beams=1, max_new_tokens=90, no_repeat_ngram_size=1)
    requests = [request(f"s{i}", free.prepare(picture(i)), "?", long) for i in range(4)]
    seen = reference.answer(requests[0])[1]
    for engine in (free, stopping):
        submit_all(engine, requests)
    whole, stopped = run_all(free), run_all(stopping)
    for asked in requests:
        answer, end = reference.answer(asked), stopped[asked.sequence_id]
        assert whole[asked.sequence_id].token_ids == answer
        if answer[1] == seen:
            assert end.finish_reason is FinishReason.LOOP
            assert 20 <= len(end.token_ids) < 20 + 17 < len(answer)
            assert end.token_ids == answer[: len(end.token_ids)]
        else:
            assert end.token_ids == answer
