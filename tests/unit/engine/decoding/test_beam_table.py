"""Beam search in rows: what it finds, and that rows do not see each other."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from arno.engine.decoding.beam_table import OPENING, BeamTable  # noqa: E402
from arno.engine.interface import DecodingOptions  # noqa: E402

END, A, B, C = 2, 3, 4, 5
SIZE = 6
CPU = torch.device("cpu")


class Search:
    """One search in a row of a table, by a model that is a function of the prefix."""

    def __init__(self, table, row, limit, model, beams):
        self.model = model
        table.open(row, [limit + 1])
        self.prefixes = [()] * beams
        self.found = None

    @property
    def length(self):
        return len(OPENING) + len(self.prefixes[0])

    def logits(self):
        return torch.stack([self.model(prefix) for prefix in self.prefixes])  # [K, V]


def step(table, searches):
    """Append a token to every beam of the searches, which are in the first rows."""
    logits = torch.stack([search.logits() for search in searches])
    advance = table.update(
        slice(0, len(searches)), logits, max(search.length for search in searches)
    )
    newest = table.newest(len(searches)).tolist()
    for row, search in enumerate(searches):
        parents = advance.parents[row].tolist()
        search.prefixes = [
            (*search.prefixes[parent], token)
            for parent, token in zip(parents, newest[row], strict=True)
        ]
        if bool(advance.finished[row]):
            search.found = table.best([row], [search.length])[0]


def table(options, rows=1, limit=12):
    return BeamTable(options, rows, limit + 2, CPU)


def search(options, model, limit=12):
    alone = table(options, limit=limit)
    run = Search(alone, 0, limit, model, options.num_beams)
    while run.found is None:
        step(alone, [run])
    return run.found


LOCATIONS = range(A, C + 1)


@pytest.mark.parametrize("beams", [1, 2])
def test_a_location_carries_its_mean_deviation_over_the_locations_alone(beams):
    # Of the second step's locations, whose sum is 0.9, A has 3/5, B and C 1/5 each.
    model = chain({A: 1.0}, {END: 0.1, A: 0.54, B: 0.18, C: 0.18}, {END: 1.0})
    options = DecodingOptions(num_beams=beams, no_repeat_ngram_size=0)
    alone = BeamTable(options, 1, 14, CPU, location_ids=LOCATIONS)
    run = Search(alone, 0, 12, model, beams)
    while run.found is None:
        step(alone, [run])
    assert run.found.token_ids[-3:] == (A, A, END)
    # The begin and end tokens are no locations; the first location is certain.
    assert run.found.deviations == pytest.approx((0.0, 0.0, 0.2 + 2 * 0.2, 0.0), abs=1e-5)


def test_the_deviation_goes_with_the_beam_that_won():
    # B leads after the first step, but all that follows A is better.
    first = {A: 0.4, B: 0.6}

    def second(prefix):
        return {C: 0.99, B: 0.01} if prefix == (A,) else {A: 0.35, B: 0.35, C: 0.3}

    options = DecodingOptions(num_beams=2, no_repeat_ngram_size=0)
    alone = BeamTable(options, 1, 14, CPU, location_ids=LOCATIONS)
    run = Search(alone, 0, 12, chain(first, second, {END: 1.0}), 2)
    while run.found is None:
        step(alone, [run])
    assert run.found.token_ids[-3:] == (A, C, END)
    assert run.found.deviations == pytest.approx((0.0, 0.6, 0.01, 0.0), abs=1e-5)


def test_a_table_without_locations_has_no_deviations():
    found = search(DecodingOptions(num_beams=1), chain({A: 1.0}, {B: 1.0}, {END: 1.0}))
    assert found.deviations == (0.0,) * len(found.token_ids)


def chain(*steps):
    """A model that knows one answer: each step maps tokens to probabilities."""

    def model(prefix):
        place = len(prefix)
        chances = steps[place](prefix) if callable(steps[place]) else steps[place]
        logits = torch.full((SIZE,), -100.0)
        for token, chance in chances.items():
            logits[token] = math.log(chance)
        return logits

    return model


def random_model(seed):
    """Other logits after every prefix, and the same ones whenever it comes."""

    def model(prefix):
        generator = torch.Generator().manual_seed(hash((seed, prefix)) % 2**31)
        logits = 2.0 * torch.randn(SIZE, generator=generator)
        logits[:END] = -100.0
        return logits

    return model


GREEDY = DecodingOptions(num_beams=1, no_repeat_ngram_size=0)


def test_greedy_search_takes_the_likeliest_token_up_to_the_end():
    model = chain({A: 0.6, B: 0.4}, {B: 0.7, END: 0.3}, {END: 0.9, A: 0.1})
    found = search(GREEDY, model)
    assert found.token_ids == (0, A, B, END)
    assert found.logprobs == pytest.approx((0.0, *map(math.log, (0.6, 0.7, 0.9))), abs=1e-5)


def test_beams_find_what_greedy_search_misses():
    """The likelier first token leads nowhere."""
    model = chain({A: 0.6, B: 0.4}, lambda prefix: {C: 0.9, END: 0.1} if prefix[-1] == B else
                  {A: 0.3, B: 0.3, C: 0.3, END: 0.1}, {END: 1.0})  # fmt: skip
    assert search(GREEDY, model).token_ids[1] == A
    beams = DecodingOptions(num_beams=2, no_repeat_ngram_size=0)
    assert search(beams, model).token_ids == (0, B, C, END)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_at_the_limit_the_end_is_forced_and_costs_nothing(num_beams):
    model = chain(*[{A: 0.5, B: 0.3, C: 0.2}] * 9)
    found = search(DecodingOptions(num_beams=num_beams, no_repeat_ngram_size=0), model, limit=5)
    assert len(found.token_ids) == 5
    assert (found.token_ids[-1], found.logprobs[-1]) == (END, 0.0)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_n_gram_comes_twice(size):
    found = search(
        DecodingOptions(num_beams=2, no_repeat_ngram_size=size),
        chain(*[{A: 0.5, B: 0.3, C: 0.15, END: 0.05}] * 20),
        limit=12,
    )
    answer = (END, *found.token_ids[:-1])
    grams = list(zip(*(answer[shift:] for shift in range(size)), strict=False))
    assert len(set(grams)) == len(grams)


@pytest.mark.parametrize(("penalty", "expected"), [(0.0, (0, END)), (3.0, (0, A, B, END))])
def test_the_length_penalty_decides_between_short_and_long(penalty, expected):
    options = DecodingOptions(
        num_beams=2, no_repeat_ngram_size=0, length_penalty=penalty, early_stopping=False
    )
    model = chain({END: 0.55, A: 0.45}, {B: 0.9, END: 0.1}, {END: 0.9, A: 0.1}, *[{END: 1.0}] * 9)
    assert search(options, model, limit=6).token_ids == expected


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    limit=st.integers(2, 4),
    penalty=st.sampled_from([0.0, 1.0, 2.0]),
)
def test_with_a_beam_for_every_answer_the_best_one_is_found(seed, limit, penalty):
    """Against all answers that there are: words up to an end, which the limit forces."""
    model = random_model(seed)
    options = DecodingOptions(
        num_beams=40, no_repeat_ngram_size=0, length_penalty=penalty, early_stopping=False
    )
    words = (A, B, C)
    best = -math.inf
    for count in range(limit - 1):
        for answer in itertools.product(words, repeat=count):
            whole = [*answer, END]
            # The end of the longest answers is forced, and so it is free.
            free = count == limit - 2
            total = sum(
                float(torch.log_softmax(model(tuple(whole[:place])), -1)[token])
                for place, token in enumerate(whole)
                if not (free and place == count)
            )
            best = max(best, total / (len(whole) + 1) ** penalty)
    found = search(options, model, limit)
    score = sum(found.logprobs) / len(found.token_ids) ** penalty
    assert score == pytest.approx(best, abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_beams=st.integers(1, 4),
    early_stopping=st.sampled_from([True, False, "never"]),
    no_repeat_ngram_size=st.sampled_from([0, 2]),
)
def test_a_search_finds_the_same_among_others_that_come_and_go_as_alone(
    seed, num_beams, early_stopping, no_repeat_ngram_size
):
    chance = random.Random(seed)
    options = DecodingOptions(
        num_beams=num_beams,
        early_stopping=early_stopping,
        no_repeat_ngram_size=no_repeat_ngram_size,
    )
    asked = [(seed + number, chance.randint(2, 9)) for number in range(6)]
    alone = [search(options, random_model(each), limit) for each, limit in asked]
    shared, waiting, found = table(options, rows=3), list(enumerate(asked)), {}
    running: list[tuple[int, Search]] = []
    while waiting or running:
        if waiting and len(running) < 3 and chance.random() < 0.7:
            number, (model_seed, limit) = waiting.pop(0)
            run = Search(shared, len(running), limit, random_model(model_seed), num_beams)
            running.append((number, run))
        if running:
            step(shared, [run for _, run in running])
        for row in reversed(range(len(running))):
            number, run = running[row]
            if run.found is not None:
                found[number] = run.found
                shared.move([len(running) - 1], [row])
                running[row] = running[-1]
                running.pop()
    assert [found[number] for number in range(len(asked))] == alone


def test_before_its_end_a_search_tells_its_best_beam_so_far():
    running = table(GREEDY)
    run = Search(running, 0, 9, chain(*[{A: 0.6, B: 0.4}] * 9), 1)
    step(running, [run])
    step(running, [run])
    best = running.best([0], [run.length])[0]
    assert best.token_ids == (0, A, A)
    assert sum(best.logprobs) == pytest.approx(2 * math.log(0.6), abs=1e-5)
