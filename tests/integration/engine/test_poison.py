"""A sequence that fails, fails alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from arno.engine import DecodingOptions
from arno.engine import static_engine as static_engine_module
from arno.errors import EngineError, LimitExceededError
from arno.tasks import FinishReason
from support.engine_runs import GREEDY, picture, request, run_all, submit_all
from support.random_florence import POSITION_COUNT

pytestmark = pytest.mark.model


def test_an_image_that_breaks_the_encoder_fails_alone(engine, reference):
    good = [engine.prepare(picture(i)) for i in range(3)]
    bad = dataclasses.replace(good[0], sha256="bad", pixels=torch.zeros(3, 7, 7, 7))
    requests = [request(f"s{i}", image, options=GREEDY) for i, image in enumerate([*good, bad])]
    submit_all(engine, requests)
    ends = run_all(engine)
    assert ends["s3"].finish_reason is FinishReason.ERROR
    assert isinstance(ends["s3"].error, EngineError)
    assert ends["s3"].error.retryable
    for asked in requests[:3]:
        assert ends[asked.sequence_id].token_ids == reference.answer(asked)
    assert engine.statistics().failed_batch_count > 0


def test_a_sequence_that_breaks_the_decoder_fails_alone(engine, reference, monkeypatch):
    real = static_engine_module.generate

    def poisoned(network, prompts, options, watch):
        if any(prompt.prompt_ids[1] == poison_id for prompt in prompts):
            raise RuntimeError("device-side assert")
        return real(network, prompts, options, watch)

    monkeypatch.setattr(static_engine_module, "generate", poisoned)
    prompts = ["abc", "xbc", "dbc"]
    poison_id = engine._checkpoint.tokenizer.encode("xbc")[1]
    image = engine.prepare(picture(0))
    requests = [request(p, image, p, GREEDY) for p in prompts]
    submit_all(engine, requests)
    ends = run_all(engine)
    assert "device-side assert" in str(ends["xbc"].error)
    assert ends["abc"].token_ids == reference.answer(requests[0])
    assert ends["dbc"].token_ids == reference.answer(requests[2])
    assert engine.statistics().running_count == 0


def test_pixels_that_are_no_numbers_end_in_an_error_and_not_in_an_answer(engine, reference):
    good = engine.prepare(picture(0))
    bad = dataclasses.replace(good, sha256="nan", pixels=torch.full_like(good.pixels, torch.nan))
    requests = [request("good", good, options=GREEDY), request("bad", bad, options=GREEDY)]
    submit_all(engine, requests)
    ends = run_all(engine)
    assert ends["bad"].finish_reason is FinishReason.ERROR
    assert ends["good"].token_ids == reference.answer(requests[0])


def test_a_prompt_beyond_the_positions_is_refused_with_both_numbers(engine):
    image = engine.prepare(picture(0))
    engine.submit(request("long", image, "x" * POSITION_COUNT, GREEDY))
    engine.submit(request("ok", image, "x", GREEDY))
    ends = run_all(engine)
    error = ends["long"].error
    assert isinstance(error, LimitExceededError)
    assert error.metadata["sent"] == f"{POSITION_COUNT + 2} tokens"
    assert ends["ok"].error is None


@pytest.mark.parametrize("num_beams", [1, 3])
def test_an_answer_never_passes_the_last_position(engine, num_beams):
    options = DecodingOptions(num_beams=num_beams, max_new_tokens=10_000)
    submit_all(
        engine, [request(f"s{i}", engine.prepare(picture(i)), "?", options) for i in range(4)]
    )
    for end in run_all(engine).values():
        assert end.error is None
        assert len(end.token_ids) <= POSITION_COUNT
        full = len(end.token_ids) == POSITION_COUNT
        assert end.finish_reason is (FinishReason.LENGTH if full else FinishReason.STOP)


def test_the_longest_prompt_that_fits_is_answered(engine, reference):
    image = engine.prepare(picture(0))
    longest = POSITION_COUNT - 5 - 2  # five places are the image's, two are begin and end
    asked = request("s", image, "y" * longest, GREEDY)
    engine.submit(asked)
    assert run_all(engine)["s"].token_ids == reference.answer(asked)
