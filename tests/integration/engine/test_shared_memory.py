"""All batches share one budget of memory, whatever options their members have."""

from __future__ import annotations

import random

import pytest
from arno.engine import DecodingOptions, SequenceFinished
from arno.engine.decoding.pool import BatchKey
from arno.engine.decoding.stepping import AsItComes
from support.engine_runs import picture, request, run_all, submit_all

pytestmark = pytest.mark.model

KINDS = [DecodingOptions(num_beams=beams, max_new_tokens=12) for beams in (1, 2, 3, 5)]


def slot_bytes(engine, options):
    return engine._pool._slot_bytes(BatchKey.of(options))


def taken_bytes(engine):
    """What those that decode now may come to need, by each one's own options."""
    running = engine._running.values()
    return sum(slot_bytes(engine, member.sequence.request.options) for member in running)


@pytest.mark.parametrize("seed", range(4))
def test_any_mix_of_options_stays_within_the_budget(make_engine, reference, seed):
    chance = random.Random(seed)
    least = slot_bytes(make_engine(), KINDS[-1])
    budget = least * chance.choice([1, 2, 3])
    engine = make_engine(decode_cache_bytes=budget, admit_sequences_max=8)
    requests = [
        request(f"s{i}", engine.prepare(picture(i % 4)), options=chance.choice(KINDS))
        for i in range(12)
    ]
    submit_all(engine, requests)
    taken = []
    ends = run_all(engine, watch=lambda: taken.append(taken_bytes(engine)))
    assert least <= max(taken) <= budget
    for asked in requests:
        assert ends[asked.sequence_id].token_ids == reference.answer(asked)


def test_one_that_needs_more_than_is_free_is_not_overtaken_for_ever(make_engine):
    """However many come after it that would fit into what becomes free."""
    small, large = KINDS[0], KINDS[-1]
    engine = make_engine(decode_cache_bytes=slot_bytes(make_engine(), large))
    image = engine.prepare(picture(0))
    engine.submit(request("small-0", image, options=small))
    while not engine.statistics().step_count:
        engine.step()
    engine.submit(request("large", image, options=large))
    ended, number = [], 0
    while "large" not in ended:
        number += 1
        assert number < 200, "it starves"
        engine.submit(request(f"small-{number}", image, options=small))
        told = [event for event in engine.step() if isinstance(event, SequenceFinished)]
        ended += [end.sequence_id for end in told]


def test_a_batch_that_reserves_its_slots_leaves_the_rest_to_others(make_engine, reference):
    """As on a GPU, where all shapes are set aside at once."""
    first, second = KINDS[2], KINDS[3]
    plain = make_engine()
    budget = 2 * slot_bytes(plain, first) + slot_bytes(plain, second)
    engine = make_engine(batch_sequences_max=2, decode_cache_bytes=budget)
    engine._pool._make_stepping = lambda: AsItComes(few_shapes=True)
    requests = [
        request(f"{kind.num_beams}-{i}", engine.prepare(picture(i)), options=kind)
        for i in range(3)
        for kind in (first, second)
    ]
    submit_all(engine, requests)
    reserved = []

    def watch():
        batches = engine._pool._batches.items()
        reserved.append(
            sum(batch.slot_count * engine._pool._slot_bytes(key) for key, batch in batches)
        )

    ends = run_all(engine, watch=watch)
    assert 0 < max(reserved) <= budget
    for asked in requests:
        assert ends[asked.sequence_id].token_ids == reference.answer(asked)
