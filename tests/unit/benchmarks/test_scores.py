"""What is said of scores is counted right."""

import pytest
from support.builders import box

from benchmarks.scores import calibration_error, overlaps


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
