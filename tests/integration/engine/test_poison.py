"""A sequence that fails, fails alone."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import pytest
import torch
from arno.engine import DecodingOptions, continuous_engine
from arno.engine.decoding.batch import DecodeBatch
from arno.engine.decoding.decoder import Decoder
from arno.engine.encoding import image_encoding
from arno.errors import EngineError, LimitExceededError
from arno.vocabulary import FinishReason
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


def test_a_prompt_that_breaks_the_text_encoder_fails_alone(
    engine, checkpoint, reference, monkeypatch
):
    real = continuous_engine.encode_prompts
    poison_id = checkpoint.tokenizer.encode("xbc")[1]

    def poisoned(network, features, prompts):
        if any(prompt[1] == poison_id for prompt in prompts):
            raise RuntimeError("device-side assert")
        return real(network, features, prompts)

    monkeypatch.setattr(continuous_engine, "encode_prompts", poisoned)
    image = engine.prepare(picture(0))
    requests = [request(prompt, image, prompt, GREEDY) for prompt in ("abc", "xbc", "dbc")]
    submit_all(engine, requests)
    ends = run_all(engine)
    assert isinstance(ends["xbc"].error, EngineError)
    assert "device-side assert" not in str(ends["xbc"].error), "a caller sees no internals"
    assert ends["abc"].token_ids == reference.answer(requests[0])
    assert ends["dbc"].token_ids == reference.answer(requests[2])


def test_a_sequence_that_breaks_the_decoder_fails_alone(engine, reference, monkeypatch):
    real = Decoder.step
    requests = [request(f"s{i}", engine.prepare(picture(i)), options=GREEDY) for i in range(4)]
    answers = {asked.sequence_id: reference.answer(asked) for asked in requests}
    guilty, poison_id = next(
        (name, token)
        for name, answer in answers.items()
        for token in answer[1:-1]
        if not any(token in other for also, other in answers.items() if also != name)
    )

    def poisoned(self, ids, *rest, **named):
        if (ids == poison_id).any():
            raise RuntimeError("device-side assert")
        return real(self, ids, *rest, **named)

    monkeypatch.setattr(Decoder, "step", poisoned)
    submit_all(engine, requests)
    ends = run_all(engine)
    assert isinstance(ends[guilty].error, EngineError)
    for asked in requests:
        if asked.sequence_id != guilty:
            assert ends[asked.sequence_id].token_ids == answers[asked.sequence_id]
    assert engine.statistics().running_count == 0


def test_a_batch_that_failed_gives_its_memory_back_at_once(engine, monkeypatch):
    def scarce(*_, **__):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(Decoder, "step", scarce)
    requests = [request(f"s{i}", engine.prepare(picture(i)), options=GREEDY) for i in range(2)]
    submit_all(engine, requests)
    real, batches = DecodeBatch.join, []

    def noted(self, *joining):
        batches.append(weakref.ref(self))
        return real(self, *joining)

    monkeypatch.setattr(DecodeBatch, "join", noted)
    while not batches:
        engine.step()
    (batch,) = batches
    gc.disable()  # a cycle would live until it comes round
    try:
        engine.step()
        assert batch() is None
    finally:
        gc.enable()


def test_running_out_of_memory_makes_fewer_run_together_and_loses_nothing(
    engine, reference, monkeypatch
):
    real = Decoder.step
    sizes = []

    def scarce(self, ids, *rest, **named):
        if len(ids) > 3:
            raise torch.OutOfMemoryError("no memory for this many")
        sizes.append(len(ids))
        return real(self, ids, *rest, **named)

    monkeypatch.setattr(Decoder, "step", scarce)
    requests = [request(f"s{i}", engine.prepare(picture(i))) for i in range(10)]
    submit_all(engine, requests)
    ends = run_all(engine)
    for asked in requests:
        assert ends[asked.sequence_id].token_ids == reference.answer(asked)
    assert max(sizes) > 1


def test_after_memory_was_scarce_as_many_run_together_again_as_before(
    make_engine, reference, monkeypatch
):
    engine = make_engine(batch_sequences_max=3)
    real, sizes, scarce = Decoder.step, [], [True]

    def step(self, ids, *rest, **named):
        if scarce[0] and len(ids) > 1:
            raise torch.OutOfMemoryError("no memory for this many")
        sizes.append(len(ids))
        return real(self, ids, *rest, **named)

    monkeypatch.setattr(Decoder, "step", step)
    requests = [
        request(f"s{i}", engine.prepare(picture(i % 12)), options=GREEDY) for i in range(60)
    ]
    submit_all(engine, requests[:3])
    ends = run_all(engine)
    assert max(sizes) == 1
    scarce[0] = False
    submit_all(engine, requests[3:])
    ends |= run_all(engine)
    assert max(sizes) == 3
    for asked in requests:
        assert ends[asked.sequence_id].token_ids == reference.answer(asked)


def test_a_budget_for_one_runs_one_at_a_time_and_loses_nothing(make_engine, reference):
    engine = make_engine(decode_cache_bytes=1)
    requests = [request(f"s{i}", engine.prepare(picture(i)), options=GREEDY) for i in range(4)]
    submit_all(engine, requests)
    widths = []
    ends = run_all(engine, watch=lambda: widths.append(engine.statistics().batch_size_last))
    assert max(widths) == 1
    for asked in requests:
        assert ends[asked.sequence_id].token_ids == reference.answer(asked)


def test_an_encoder_without_memory_gives_up_kept_images_first(engine, reference, monkeypatch):
    first, second = (request(f"s{i}", engine.prepare(picture(i)), options=GREEDY) for i in (0, 1))
    submit_all(engine, [first])
    run_all(engine)
    real, failures = image_encoding.encode_images, []

    def scarce(network, normalise, pixels, sizes):
        if not failures:
            failures.append(len(pixels))
            raise torch.OutOfMemoryError("no memory")
        return real(network, normalise, pixels, sizes)

    monkeypatch.setattr(image_encoding, "encode_images", scarce)
    submit_all(engine, [second])
    assert run_all(engine)["s1"].token_ids == reference.answer(second)
    assert engine.statistics().failed_batch_count == 0
    submit_all(engine, [first])
    assert run_all(engine)["s0"].token_ids == reference.answer(first)
    assert engine.statistics().encoded_image_count == 3


def test_equal_images_that_wait_together_are_encoded_once_though_nothing_is_kept(
    make_engine, reference
):
    engine = make_engine(encoded_cache_bytes=0, admit_sequences_max=1)
    image = engine.prepare(picture(0))
    requests = [request(f"s{i}", image, f"What {i}", GREEDY) for i in range(3)]
    submit_all(engine, requests)
    ends = run_all(engine)
    assert engine.statistics().encoded_image_count == 1
    for asked in requests:
        assert ends[asked.sequence_id].token_ids == reference.answer(asked)


def test_a_sequence_too_large_for_the_device_alone_ends_in_an_error(engine, monkeypatch):
    def scarce(*_, **__):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(Decoder, "step", scarce)
    engine.submit(request("s", engine.prepare(picture(0))))
    end = run_all(engine)["s"]
    assert end.finish_reason is FinishReason.ERROR
    assert end.error.retryable


def without_numbers(monkeypatch, image):
    """Return another image, which the vision encoder turns into NaN."""
    bad = dataclasses.replace(image, sha256="nan", pixels=image.pixels.clone())
    real = image_encoding.encode_images

    def encode(network, normalise, pixels, sizes):
        features = real(network, normalise, pixels, sizes)
        for each, feature in zip(pixels, features, strict=True):
            if each is bad.pixels:
                feature.fill_(torch.nan)
        return features

    monkeypatch.setattr(image_encoding, "encode_images", encode)
    return bad


def test_an_image_without_numbers_ends_in_an_error_and_not_in_an_answer(
    engine, reference, monkeypatch
):
    good = engine.prepare(picture(0))
    bad = without_numbers(monkeypatch, good)
    requests = [request("good", good, options=GREEDY), request("bad", bad, options=GREEDY)]
    submit_all(engine, requests)
    ends = run_all(engine)
    assert ends["bad"].finish_reason is FinishReason.ERROR
    assert ends["good"].token_ids == reference.answer(requests[0])


def test_a_sequence_in_the_slot_of_one_without_numbers_is_answered(engine, reference, monkeypatch):
    """Beside one with a longer prompt, up to whose length all prompts are read."""
    good = engine.prepare(picture(0))
    bad = without_numbers(monkeypatch, good)
    endless = DecodingOptions(num_beams=3, max_new_tokens=60, no_repeat_ngram_size=1)
    prompt = "a long prompt"
    long = request("long", good, prompt, endless)
    late = request("late", engine.prepare(picture(1)), "?", endless)
    submit_all(engine, [long, request("bad", bad, prompt, endless)])
    for _ in range(6):
        engine.step()
    engine.submit(late)
    ends = run_all(engine)
    for asked in (long, late):
        assert ends[asked.sequence_id].token_ids == reference.answer(asked)


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
