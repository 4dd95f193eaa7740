"""The engine's first promise: any mix of requests gets the tokens that each gets alone."""

from __future__ import annotations

import dataclasses
import itertools
import random

import pytest
from arno.engine import DecodingOptions, SequenceFinished
from arno.vocabulary import FinishReason
from support.engine_runs import BEAMS, GREEDY, picture, request, run_all, submit_all

pytestmark = pytest.mark.model

PROMPTS = ("What?", "Where", "Locate the objects", "<loc_1><loc_20>", "")
OTHER_OPTIONS = (
    DecodingOptions(num_beams=3, max_new_tokens=20, no_repeat_ngram_size=0),
    DecodingOptions(num_beams=2, max_new_tokens=12, length_penalty=2.0),
    DecodingOptions(num_beams=4, max_new_tokens=12, length_penalty=0.0, early_stopping=False),
    DecodingOptions(num_beams=5, max_new_tokens=25, length_penalty=1.0, early_stopping="never"),
    DecodingOptions(num_beams=4, max_new_tokens=25, length_penalty=-1.0, early_stopping="never"),
    DecodingOptions(num_beams=1, max_new_tokens=1),
    DecodingOptions(num_beams=3, max_new_tokens=2),
)


@pytest.mark.parametrize("options", [GREEDY, BEAMS, *OTHER_OPTIONS], ids=str)
def test_a_batch_gets_the_tokens_that_generate_gives_to_each(engine, reference, options):
    requests = [
        request(f"s{i}", engine.prepare(picture(i % 4)), PROMPTS[i // 4], options) for i in range(8)
    ]
    submit_all(engine, requests)
    widths = []
    ends = run_all(engine, watch=lambda: widths.append(engine.statistics().batch_size_last))
    assert max(widths) >= 4 or options.max_new_tokens < 3
    for asked in requests:
        assert ends[asked.sequence_id].token_ids == reference.answer(asked), asked.sequence_id


def test_the_answers_compared_are_worth_comparing(engine, reference):
    """They differ by image and by prompt, some end by themselves, and some reach the limit."""
    short = dataclasses.replace(BEAMS, max_new_tokens=10)
    requests = [
        request(f"{i}{prompt}", engine.prepare(picture(i)), prompt, short)
        for i, prompt in itertools.product(range(8), PROMPTS[:2])
    ]
    submit_all(engine, requests)
    ends = run_all(engine)
    assert len({end.token_ids for end in ends.values()}) >= 14
    reasons = {end.finish_reason for end in ends.values()}
    assert reasons == {FinishReason.STOP, FinishReason.LENGTH}


@pytest.mark.parametrize("overlap", ["off", "on"])
@pytest.mark.parametrize("seed", range(8))
def test_any_mix_of_arrivals_and_cancels_changes_no_answer(make_engine, reference, seed, overlap):
    chance = random.Random(seed)
    engine = make_engine(
        batch_sequences_max=chance.choice([1, 2, 5, 16]),
        admit_sequences_max=chance.choice([1, 3, 8]),
        decode_share=chance.choice([0.0, 0.5, 0.9]),
        encoded_cache_bytes=chance.choice([0, 4000, 1_000_000]),
        encode_overlap=overlap,
    )
    requests = [
        request(
            f"s{i}",
            engine.prepare(picture(chance.randrange(4))),
            chance.choice(PROMPTS),
            chance.choice([GREEDY, BEAMS, OTHER_OPTIONS[3]]),
            lane=chance.choice(["interactive", "batch"]),
            tenant=chance.choice("ab"),
        )
        for i in range(14)
    ]
    ends: dict[str, SequenceFinished] = {}

    def step():
        told = [event for event in engine.step() if isinstance(event, SequenceFinished)]
        assert not ends.keys() & {end.sequence_id for end in told}, "ended twice"
        ends.update((end.sequence_id, end) for end in told)

    for asked in requests:
        engine.submit(asked)
        for _ in range(chance.choice([0, 0, 1, 4])):
            step()
        if chance.random() < 0.2:
            engine.cancel(chance.choice(requests).sequence_id)
    while len(ends) < len(requests):
        step()
    assert (engine.statistics().waiting_count, engine.statistics().running_count) == (0, 0)
    for asked in requests:
        end, whole = ends[asked.sequence_id], reference.answer(asked)
        if end.finish_reason is FinishReason.CANCELLED:
            assert len(end.token_ids) <= len(whole)
        else:
            assert end.token_ids == whole


def test_an_image_is_encoded_once_for_all_its_tasks(engine):
    image = engine.prepare(picture(0))
    submit_all(engine, [request(f"s{i}", image, PROMPTS[i]) for i in range(3)])
    run_all(engine)
    statistics = engine.statistics()
    assert (statistics.encoded_image_count, statistics.reused_image_count) == (1, 2)


def test_a_kept_encoding_gives_the_same_tokens_as_a_fresh_one(make_engine):
    kept, forgetful = make_engine(), make_engine(encoded_cache_bytes=0)
    answers = []
    for engine, known in ((kept, False), (kept, True), (forgetful, False)):
        image = engine.prepare(picture(1))
        assert (image.features is not None) is known
        engine.submit(request("s", image))
        answers.append(run_all(engine)["s"].token_ids)
    assert answers[0] == answers[1] == answers[2]
    assert kept.statistics().encoded_image_count == 1
    assert forgetful.statistics().reused_image_count == 0
