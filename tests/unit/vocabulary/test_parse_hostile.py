"""Nothing that a model may write raises, and no length of it takes more than its share."""

import math
import sys
from collections import Counter

import pytest
from arno.vocabulary import BIN_COUNT, Box, Decoded, ImageSize, Task, parse
from hypothesis import given
from hypothesis import strategies as st
from unit.vocabulary.spelling import (
    MARKER_IDS,
    THOUSAND,
    VOCABULARY,
    locations,
    quick,
    spell,
    typed,
)

TOKEN_COUNT = 20_000

any_token = st.one_of(
    st.integers(0, 2),
    st.sampled_from(typed("a <>_loc5\n\u00e9")),
    st.integers(259, 259 + 999),
    st.sampled_from(sorted(MARKER_IDS.values())),
    st.sampled_from([-1, len(VOCABULARY.pieces), 10**9]),
)
any_logprob = st.one_of(
    st.floats(max_value=1e-6, allow_nan=False), st.sampled_from([math.nan, -math.inf])
)


@quick
@given(
    task=st.sampled_from(Task),
    tokens=st.lists(st.tuples(any_token, any_logprob, st.floats(0, 999)), max_size=60),
    size=st.builds(ImageSize, st.integers(1, 70_000), st.integers(1, 70_000)),
)
def test_any_tokens_give_an_answer_inside_the_image(task, tokens, size):
    token_ids, logprobs, deviations = ([each[part] for each in tokens] for part in range(3))
    decoded = Decoded(token_ids, logprobs, deviations=deviations)
    answer = parse(task, decoded, VOCABULARY, size, region=Box(0, 0, 1, 1), classes=("a",))
    assert answer.token_count == len(tokens)
    for region in answer.regions:
        assert all(0 <= location_bin < BIN_COUNT for location_bin in region.bins)
        for score in (region.label_score, region.location_score, region.score):
            assert score is None or 0 <= score <= 1


@quick
@given(task=st.sampled_from(Task), tokens=st.lists(any_token, max_size=40))
def test_a_longer_prefix_never_has_fewer_regions(task, tokens):
    counts = [
        len(parse(task, Decoded(tokens[:length]), VOCABULARY, THOUSAND).regions)
        for length in range(len(tokens) + 1)
    ]
    # A `<poly>` that comes later turns what stood before it under the same label into a stray.
    if MARKER_IDS["<poly>"] not in tokens:
        assert counts == sorted(counts)


LONG = {
    "one endless label": typed("a") * TOKEN_COUNT,
    "one endless run of locations": spell("car") + spell("<loc_5>") * TOKEN_COUNT,
    "boxes of one label each": (spell(f"a{locations(range(4))}") * TOKEN_COUNT)[:TOKEN_COUNT],
    "nested fences": spell("a") + spell("<poly>") * TOKEN_COUNT,
    "fences around nothing": (spell("<poly></poly><sep>") * TOKEN_COUNT)[:TOKEN_COUNT],
    "outlines without end": (spell(f"<poly>{locations(range(6))}<sep>") * 2500)[:TOKEN_COUNT],
    "less-than signs": typed("<") * TOKEN_COUNT,
    "broken characters": typed("\u00e9")[:1] * TOKEN_COUNT,
    "ends and padding": [0, 1, 2] * (TOKEN_COUNT // 3),
    "markers and words in turn": (spell("a<and>") * TOKEN_COUNT)[:TOKEN_COUNT],
}


@pytest.mark.parametrize("tokens", LONG.values(), ids=LONG.keys())
@pytest.mark.parametrize("task", [Task.OD, Task.OCR_WITH_REGION, Task.PROMPT])
def test_the_work_grows_with_the_tokens_and_not_with_their_square(task, tokens):
    assert calls_to_parse(task, tokens[:1600]) < 9 * calls_to_parse(task, tokens[:200])


@pytest.mark.parametrize("tokens", LONG.values(), ids=LONG.keys())
def test_twenty_thousand_tokens_are_read_like_any_other(tokens):
    answer = parse(Task.PROMPT, Decoded(tokens), VOCABULARY, THOUSAND)
    assert answer.token_count == len(tokens)


def calls_to_parse(task: Task, tokens: list[int]) -> int:
    """Return how many functions are called: a measure of work that no busy machine changes."""
    events: Counter[str] = Counter()
    sys.setprofile(lambda _frame, event, _argument: events.update((event,)))
    try:
        parse(task, Decoded(tokens), VOCABULARY, THOUSAND)
    finally:
        sys.setprofile(None)
    return events["call"] + events["c_call"]
