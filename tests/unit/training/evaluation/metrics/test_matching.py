"""Pairs of found and true regions: one to one, the best overlap first."""

from __future__ import annotations

import pytest
from arno.training.evaluation.metrics.matching import (
    Match,
    Tally,
    any_label,
    match,
    same_label,
    total,
)
from arno.vocabulary import Region
from hypothesis import given
from hypothesis import strategies as st
from support.builders import box


def test_better_overlap_takes_the_object_and_the_other_box_stays_alone():
    true = [box("cat", 0, 0, 100, 100)]
    found = [box("cat", 0, 0, 100, 60), box("cat", 0, 0, 100, 90)]
    assert match(found, true, may_match=same_label) == [Match(1, 0, 0.9)]


def test_overlap_below_a_half_is_no_pair_and_a_half_is_one():
    true = [box("cat", 0, 0, 100, 100)]
    assert match([box("cat", 0, 0, 100, 49)], true, may_match=same_label) == []
    assert match([box("cat", 0, 0, 100, 50)], true, may_match=same_label) == [Match(0, 0, 0.5)]


def test_labels_must_agree_but_for_case_and_spaces():
    true = [box("Red  Car", 0, 0, 10, 10)]
    assert match([box("red car", 0, 0, 10, 10)], true, may_match=same_label)
    assert not match([box("car", 0, 0, 10, 10)], true, may_match=same_label)
    assert match([box("car", 0, 0, 10, 10)], true, may_match=any_label)


def test_region_without_a_shape_overlaps_with_nothing():
    assert not match([Region("cat", ())], [box("cat", 0, 0, 9, 9)], may_match=same_label)


sides = st.integers(0, 5).map(lambda number: number * 10.0)
regions = st.lists(
    st.builds(lambda x, y: box("cat", x, y, x + 20, y + 20), sides, sides), max_size=5
)


@given(found=regions, true=regions)
def test_each_region_is_in_one_pair_at_most_and_no_allowed_pair_is_left(found, true):
    pairs = match(found, true, may_match=any_label)
    used_found, used_true = {pair.found for pair in pairs}, {pair.true for pair in pairs}
    assert len(used_found) == len(used_true) == len(pairs)
    left_found = [one for at, one in enumerate(found) if at not in used_found]
    left_true = [one for at, one in enumerate(true) if at not in used_true]
    assert match(left_found, left_true, may_match=any_label) == []


def test_tally_gives_precision_recall_and_f1():
    tally = Tally(found_count=4, true_count=6, right_count=3)
    assert (tally.precision, tally.recall, tally.f1) == (0.75, 0.5, pytest.approx(0.6))


def test_tally_of_nothing_is_a_perfect_answer_to_nothing():
    assert (Tally(0, 0, 0).precision, Tally(0, 0, 0).recall, Tally(0, 0, 0).f1) == (0, 0, 1)
    assert Tally(3, 0, 0).f1 == Tally(0, 3, 0).f1 == 0


def test_tallies_add_up():
    assert total([Tally(1, 2, 1), Tally(3, 4, 2)]) == Tally(4, 6, 3)
