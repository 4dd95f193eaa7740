"""The batches of a pool, over a decoder small enough to know its answers by heart."""

from __future__ import annotations

import dataclasses
import random
import weakref

import pytest
from unit.vocabulary.spelling import VOCABULARY

torch = pytest.importorskip("torch")

from arno.engine.decoding.batch import DecodeBatch  # noqa: E402
from arno.engine.decoding.beam_table import OPENING  # noqa: E402
from arno.engine.decoding.cache import slot_bytes  # noqa: E402
from arno.engine.decoding.constraint_table import TokenKinds  # noqa: E402
from arno.engine.decoding.decoder import KeysValues, Started  # noqa: E402
from arno.engine.decoding.launchers import EagerLauncher  # noqa: E402
from arno.engine.decoding.pool import DecodePool, PoolLimits  # noqa: E402
from arno.engine.interface import DecodingOptions  # noqa: E402
from arno.engine.sequences.sequence import SequenceStage  # noqa: E402
from support.sequences import sequence  # noqa: E402

END, LAST_LETTER = 2, 25
SIZE = len(VOCABULARY.pieces)
POSITIONS, ENCODED = 32, 8
GREEDY = DecodingOptions(num_beams=1, max_new_tokens=30, no_repeat_ngram_size=0)
BEAMS = DecodingOptions(num_beams=3, max_new_tokens=30, no_repeat_ngram_size=0)


class AlphabetDecoder:
    """Counts up from what the prompt says, by one a token, and then ends.

    Where to begin is read from the cached prompt, what comes next from the beam's newest token. It
    raises on a token that a test has poisoned.
    """

    device, dtype = torch.device("cpu"), torch.float32
    layer_count, head_count, head_width, token_count = 2, 1, 1, SIZE

    def __init__(self):
        self.poison = None

    def start(self, states, padding):
        """States [B, N, 1] hold the first token of each answer everywhere."""
        rows = states.transpose(1, 2)[:, None]  # [B, 1, 1, N]
        cross = KeysValues(rows, rows.transpose(2, 3))
        opening = torch.zeros(len(states), 1, 1, len(OPENING))
        past = KeysValues(opening, opening.transpose(2, 3))
        logits = self._logits(states[:, 0, 0].long())
        return Started([cross] * 2, [past] * 2, logits)

    def step(self, ids, positions, cross, padding, update_cache, visible):
        if self.poison is not None and (ids == self.poison).any():
            raise RuntimeError("device-side assert")
        new = torch.zeros(len(ids), 1, ids.shape[1], 1)
        for layer in range(self.layer_count):
            update_cache(layer, KeysValues(new.transpose(2, 3), new))
        return self._logits(torch.where(ids >= LAST_LETTER, END, ids + 1))

    def _logits(self, tokens):
        likely = torch.nn.functional.one_hot(tokens, SIZE).float() * 20.0
        return likely - 0.01 * torch.arange(SIZE)


@pytest.fixture
def decoder():
    return AlphabetDecoder()


@pytest.fixture
def make_pool(decoder):
    def make(*, slots=4, cache_bytes=10**9, few_shapes=False):
        limits = PoolLimits(slots, cache_bytes, POSITIONS, ENCODED)
        kinds = TokenKinds(VOCABULARY, SIZE, decoder.device)
        return DecodePool(decoder, limits, kinds, lambda: EagerLauncher(few_shapes=few_shapes))

    return make


def ready(name, first, options=GREEDY):
    """A sequence whose answer counts from `first` to the last letter."""
    made = sequence(name, options)
    made.take_image(torch.full((3, 1), float(first)), None)
    return made


def join(pool, *sequences):
    states = torch.stack(
        [torch.full((each.encoded_length, 1), float(each.features[0])) for each in sequences]
    )
    return pool.join(pool.start(states, None), list(sequences))


def answer(first):
    return (0, *range(first, LAST_LETTER + 1), END)


def run(pool, watch=lambda step: None):
    """Step until all are over; return their answers by name."""
    answers = {}
    while len(pool):
        step = pool.step()
        watch(step)
        answers |= {each.sequence_id: best.token_ids for each, best in pool.leave(step.over)}
    return answers


@pytest.mark.parametrize("few_shapes", [False, True])
def test_answers_are_right_while_others_join_and_leave(make_pool, few_shapes):
    chance = random.Random(3)
    pool = make_pool(few_shapes=few_shapes)
    waiting = [ready(f"{first}", first, chance.choice([GREEDY, BEAMS])) for first in range(12, 24)]
    answers = {}
    while waiting or len(pool):
        if waiting and pool.free_slots(waiting[0].batch_key) and chance.random() < 0.4:
            assert join(pool, waiting.pop(0)) == []
        elif len(pool):
            over = pool.step().over
            answers |= {each.sequence_id: best.token_ids for each, best in pool.leave(over)}
    assert answers == {f"{first}": answer(first) for first in range(12, 24)}


def test_sequences_with_equal_options_share_a_batch_and_others_do_not(make_pool):
    pool = make_pool()
    alike = [ready("a", 20), ready("b", 21)]
    other = ready("c", 20, BEAMS)
    join(pool, *alike)
    join(pool, other)
    assert {each.stage for each in pool.sequences} == {SequenceStage.RUNNING}
    step = pool.step()
    assert (step.widest, step.token_count, step.beam_count) == (2, 3, 2 * 1 + 1 * 3)
    assert [each.token_count for each in (*alike, other)] == [3, 3, 3]
    assert pool.free_slots(alike[0].batch_key) == 2
    assert pool.free_slots(other.batch_key) == 3


def test_a_limit_on_tokens_is_each_ones_own(make_pool):
    pool = make_pool()
    short = ready("short", 5, dataclasses.replace(GREEDY, max_new_tokens=4))
    join(pool, ready("long", 5), short)
    answers = run(pool)
    assert answers == {"long": answer(5), "short": (0, 5, 6, END)}


def test_a_search_that_is_over_with_its_first_token_is_told_at_once(make_pool):
    pool = make_pool()
    brief = ready("brief", END)
    assert join(pool, brief, ready("long", 20)) == [brief]
    ((_, best),) = pool.leave([brief])
    assert best.token_ids == (0, END)
    assert run(pool) == {"long": answer(20)}


def test_a_batch_that_fails_is_gone_and_the_others_go_on(make_pool, decoder):
    pool = make_pool()
    guilty, neighbour, other = ready("guilty", 24), ready("neighbour", 10), ready("o", 12, BEAMS)
    join(pool, guilty, neighbour)
    join(pool, other)
    decoder.poison = 24
    step = pool.step()
    (failed,) = step.failed
    assert failed.sequences == (guilty, neighbour)
    assert str(failed.fault) == "device-side assert"
    assert pool.sequences == [other]
    decoder.poison = None
    join(pool, neighbour)
    assert run(pool) == {"neighbour": answer(10), "o": answer(12)}


def test_a_batch_that_fails_while_others_join_keeps_those_that_it_had(make_pool):
    pool = make_pool()
    join(pool, ready("first", 10))
    late, later = ready("late", 12), ready("later", 14)
    states = late.features[:1].expand(1, late.encoded_length, 1)
    with pytest.raises((RuntimeError, IndexError)):
        pool.join(pool.start(states, None), [late, later])  # only one of them is started
    assert [each.sequence_id for each in pool.sequences] == ["first"]
    assert SequenceStage.RUNNING not in {late.stage, later.stage}
    join(pool, later)
    assert run(pool) == {"first": answer(10), "later": answer(14)}


def test_one_that_runs_alone_has_a_batch_for_itself(make_pool):
    pool = make_pool()
    lonely = ready("lonely", 20)
    lonely.isolate()
    assert pool.free_slots(lonely.batch_key) == 1
    join(pool, ready("other", 20))
    join(pool, lonely)
    assert pool.free_slots(lonely.batch_key) == 0
    assert pool.step().widest == 1
    pool.leave([lonely])
    assert pool.free_slots(lonely.batch_key) == 1, "a new one, for the old one is gone"


def test_batches_share_one_budget_of_memory(make_pool, decoder):
    small, large = ready("small", 20), ready("large", 20, BEAMS)
    small_bytes = slot_bytes(decoder, 1, ENCODED, POSITIONS)
    large_bytes = slot_bytes(decoder, 3, ENCODED, POSITIONS)
    pool = make_pool(cache_bytes=2 * small_bytes + large_bytes)
    assert pool.slot_bytes(large.batch_key) == large_bytes
    join(pool, small)
    assert pool.affordable(large.batch_key) == 1
    join(pool, large)
    assert pool.taken_bytes == small_bytes + large_bytes
    assert (pool.affordable(small.batch_key), pool.affordable(large.batch_key)) == (1, 0)
    pool.leave([small])
    assert pool.affordable(small.batch_key) == 2


def test_one_that_needs_more_than_all_memory_may_join_an_empty_pool_and_no_other(make_pool):
    pool = make_pool(cache_bytes=1)
    first, second = ready("first", 20), ready("second", 20)
    assert pool.affordable(first.batch_key) == 1
    join(pool, first)
    assert pool.affordable(second.batch_key) == 0
    pool.leave([first])
    assert pool.affordable(second.batch_key) == 1


def test_a_batch_that_reserves_takes_all_its_slots_at_once_and_no_more_than_is_left(
    make_pool, decoder
):
    greedy_bytes = slot_bytes(decoder, 1, ENCODED, POSITIONS)
    beams_bytes = slot_bytes(decoder, 3, ENCODED, POSITIONS)
    budget = 2 * greedy_bytes + beams_bytes
    pool = make_pool(slots=2, cache_bytes=budget, few_shapes=True)
    first, second = ready("first", 20), ready("second", 20, BEAMS)
    join(pool, first)
    assert pool.taken_bytes == 2 * greedy_bytes
    assert pool.affordable(first.batch_key) == pool.free_slots(first.batch_key) == 1
    assert pool.free_slots(second.batch_key) == 1
    join(pool, second)
    assert pool.taken_bytes == budget
    assert run(pool) == {"first": answer(20), "second": answer(20)}
    assert pool.taken_bytes == 0


def test_an_empty_batch_gives_its_reserved_memory_to_the_next_one(make_pool, decoder, monkeypatch):
    real, batches = DecodeBatch.join, []

    def noted(self, *joining):
        batches.append(weakref.ref(self))
        return real(self, *joining)

    monkeypatch.setattr(DecodeBatch, "join", noted)
    greedy_bytes = slot_bytes(decoder, 1, ENCODED, POSITIONS)
    pool = make_pool(slots=4, cache_bytes=4 * greedy_bytes, few_shapes=True)
    join(pool, ready("first", 20))
    run(pool)
    second = ready("second", 20, BEAMS)
    assert pool.free_slots(second.batch_key) > 0
    join(pool, second)
    assert 0 < pool.taken_bytes <= 4 * greedy_bytes
    assert [batch() is None for batch in batches] == [True, False]
