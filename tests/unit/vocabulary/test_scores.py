"""What a score is made of."""

import math

import pytest
from arno.vocabulary.scores import RegionScores, geometric_mean, score_region
from hypothesis import given
from hypothesis import strategies as st
from unit.vocabulary.spelling import quick

logprobs = st.lists(st.floats(-50, 0), min_size=1, max_size=20)


def test_a_score_is_the_geometric_mean_of_the_probabilities():
    assert geometric_mean([math.log(0.5), math.log(0.125)]) == pytest.approx(0.25)


def test_no_tokens_have_no_score():
    assert geometric_mean([]) is None


def test_a_missing_log_probability_leaves_no_score():
    assert geometric_mean([-1.0, math.nan]) is None
    assert geometric_mean([math.nan, -1.0]) is None


def test_an_impossible_token_makes_the_score_zero():
    assert geometric_mean([-1.0, -math.inf]) == 0.0


def test_rounding_above_certainty_does_not_lift_a_score_above_one():
    assert geometric_mean([1e-6, 1e-7]) == 1.0


@quick
@given(logprobs=logprobs, forced=st.integers(1, 5))
def test_forced_tokens_never_lower_a_score(logprobs, forced):
    alone, padded = geometric_mean(logprobs), geometric_mean(logprobs + [0.0] * forced)
    assert alone is not None
    assert padded is not None
    assert padded >= alone


@quick
@given(label=logprobs, location=logprobs)
def test_label_and_location_weigh_the_same_however_many_tokens_they_have(label, location):
    scores = score_region(label, location)
    assert scores.label is not None
    assert scores.location is not None
    assert scores.combined == pytest.approx(math.sqrt(scores.label * scores.location))


def test_with_one_part_missing_the_other_is_the_score():
    assert score_region([], [0.0]) == RegionScores(None, 1.0, 1.0)
    assert score_region([0.0], []) == RegionScores(1.0, None, 1.0)
    assert score_region([], []) == RegionScores(None, None, None)
