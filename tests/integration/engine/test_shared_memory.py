"""All batches share one budget of memory, whatever options their members have."""

from __future__ import annotations

import random

import pytest
from arno.engine import DecodingOptions, SequenceFinished
from arno.engine.decoding.cache import slot_bytes
from arno.engine.decoding.decoder import Decoder
from arno.engine.decoding.pool import DecodePool
from support.engine_runs import picture, request, run_all, submit_all

pytestmark = pytest.mark.model

KINDS = [DecodingOptions(num_beams=beams, max_new_tokens=12) for beams in (1, 2, 3, 5)]


@pytest.fixture
def bytes_of(checkpoint):
    """What a sequence of given beams may come to need."""
    decoder, positions = Decoder(checkpoint.network), checkpoint.card.position_count
    return lambda beams: slot_bytes(decoder, beams, positions, positions)


@pytest.fixture
def taken(bytes_of, monkeypatch):
    """What the sequences of each step may come to need, by each one's own options."""
    real_decode, real_step, steps = Decoder.step, DecodePool.step, []

    def decode(self, ids, *rest, **named):
        count, beams = ids.shape
        steps[-1] += count * bytes_of(beams)
        return real_decode(self, ids, *rest, **named)

    def step(self):
        steps.append(0)
        return real_step(self)

    monkeypatch.setattr(Decoder, "step", decode)
    monkeypatch.setattr(DecodePool, "step", step)
    return steps


@pytest.mark.parametrize("seed", range(4))
def test_any_mix_of_options_stays_within_the_budget(make_engine, reference, bytes_of, taken, seed):
    chance = random.Random(seed)
    least = bytes_of(KINDS[-1].num_beams)
    budget = least * chance.choice([1, 2, 3])
    engine = make_engine(decode_cache_bytes=budget, admit_sequences_max=8)
    requests = [
        request(f"s{i}", engine.prepare(picture(i % 4)), options=chance.choice(KINDS))
        for i in range(12)
    ]
    submit_all(engine, requests)
    ends = run_all(engine)
    assert least <= max(taken) <= budget
    for asked in requests:
        assert ends[asked.sequence_id].token_ids == reference.answer(asked)


def test_a_sequence_that_waits_for_memory_is_not_overtaken_without_end(make_engine, bytes_of):
    """However many come after it that would fit into what becomes free."""
    small, large = KINDS[0], KINDS[-1]
    engine = make_engine(decode_cache_bytes=bytes_of(large.num_beams))
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


def test_a_batch_that_reserves_its_slots_leaves_the_rest_to_others(
    make_engine, reference, bytes_of, taken
):
    """As on a GPU, where all shapes are set aside at once: a step is as wide as its slots."""
    first, second = KINDS[2], KINDS[3]
    budget = 2 * bytes_of(first.num_beams) + bytes_of(second.num_beams)
    engine = make_engine(batch_sequences_max=2, decode_cache_bytes=budget, few_shapes=True)
    requests = [
        request(f"{kind.num_beams}-{i}", engine.prepare(picture(i)), options=kind)
        for i in range(3)
        for kind in (first, second)
    ]
    submit_all(engine, requests)
    ends = run_all(engine)
    assert 0 < max(taken) <= budget
    for asked in requests:
        assert ends[asked.sequence_id].token_ids == reference.answer(asked)
