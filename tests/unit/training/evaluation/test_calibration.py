"""A fitted map says how right regions with a score are."""

import random

import pytest
from arno.training.evaluation.calibration import Scored, calibration_error, fit_map, overlaps
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import box


def test_a_region_overlaps_its_own_true_one_and_a_second_one_overlaps_nothing():
    true = [box("cat", 0, 0, 10, 10), box("dog", 50, 50, 60, 60)]
    found = [box("cat", 0, 0, 10, 5), box("cat", 0, 0, 10, 10), box("dog", 0, 0, 10, 10)]
    assert overlaps(found, true) == [0.0, 1.0, 0.0]


def test_scores_that_are_right_on_the_whole_have_no_calibration_error():
    assert calibration_error([(0.5, 0.0), (0.5, 1.0), (0.9, 0.9)]) == 0.0


def test_the_calibration_error_weighs_bins_by_their_size_and_does_not_let_them_make_up():
    scored = [(1.0, 0.6)] * 3 + [(0.1, 0.5)]
    assert calibration_error(scored) == pytest.approx(0.4)
    assert calibration_error([]) == 0.0


def test_a_fit_brings_scores_that_are_too_high_to_what_is_seen_on_other_regions():
    chance = random.Random(3)

    def draw(count):
        scores = [chance.random() ** 0.3 for _ in range(count)]
        return [Scored(score, float(chance.random() < score**3)) for score in scores]

    score_map, others = fit_map(draw(2000)), draw(4000)
    before = calibration_error((one.score, one.overlap) for one in others)
    after = calibration_error((score_map(one.score), one.overlap) for one in others)
    assert before > 0.15
    assert after < 0.04


@settings(max_examples=30, deadline=None)
@given(st.lists(st.builds(Scored, st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=120))
def test_any_regions_have_a_map_that_keeps_every_order(scored):
    score_map = fit_map(scored)  # it refuses lines that do not rise
    ranked = sorted(one.score for one in scored)
    values = [score_map(score) for score in ranked]
    assert values == sorted(values)
