"""Phrases are right where their best box is; boxes are counted one to one."""

from __future__ import annotations

import pytest
from arno.training.evaluation.metrics.matching import Tally
from arno.training.evaluation.metrics.regions import box_tally, is_hit, phrase_hits
from arno.vocabulary import Box, GroundedPhrase, Region


def box(x0: float, y0: float, x1: float, y1: float, score: float | None = None) -> Region:
    return Region("", Box(x0, y0, x1, y1), score=score)


def phrase(name: str, *regions: Region) -> GroundedPhrase:
    return GroundedPhrase(name, regions)


CAT, DOG, FAR = box(0, 0, 10, 10), box(20, 0, 30, 10), box(50, 50, 60, 60)


def test_accuracy_is_the_part_of_true_phrases_whose_best_box_is_right():
    true = [phrase("a cat", CAT), phrase("a dog", DOG)]
    found = [phrase("A  cat", CAT), phrase("a dog", FAR), phrase("a ghost", FAR)]
    assert phrase_hits(found, true) == Tally(found_count=3, true_count=2, right_count=1)
    assert phrase_hits(found, true).recall == 0.5


def test_best_box_is_the_one_of_the_highest_score():
    assert is_hit([box(50, 50, 60, 60, 0.4), box(0, 0, 10, 10, 0.6)], [CAT])
    assert not is_hit([box(50, 50, 60, 60, 0.6), box(0, 0, 10, 10, 0.4)], [CAT])


def test_without_scores_the_first_box_is_the_best():
    assert is_hit([CAT, FAR], [CAT])
    assert not is_hit([FAR, CAT], [CAT])


def test_any_of_several_true_boxes_is_right():
    assert is_hit([DOG], [CAT, DOG])


@pytest.mark.parametrize(("height", "right"), [(5.0, True), (4.9, False)])
def test_overlap_of_a_half_is_enough(height, right):
    assert is_hit([box(0, 0, 10, height)], [CAT]) is right


def test_phrase_that_was_not_found_is_wrong():
    assert not is_hit([], [CAT])
    assert phrase_hits([], [phrase("a cat", CAT)]) == Tally(0, 1, 0)


def test_boxes_of_a_phrase_found_in_parts_are_counted_together():
    true = [phrase("cats", CAT, DOG)]
    found = [phrase("cats", CAT), phrase("Cats", DOG, FAR)]
    assert box_tally(found, true) == Tally(found_count=3, true_count=2, right_count=2)
    assert box_tally([phrase("dogs", CAT)], true) == Tally(1, 2, 0)
