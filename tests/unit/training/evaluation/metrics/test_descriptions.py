"""Described regions: places, equal texts, shared words."""

from __future__ import annotations

import pytest
from arno.training.evaluation.metrics.matching import Tally
from arno.training.evaluation.metrics.regions import describe, word_f1
from arno.vocabulary import Box, Region


def box(label: str, x: float) -> Region:
    return Region(label, Box(x, 0, x + 10, 10))


def test_places_texts_and_words_are_counted_apart():
    true = [box("a red car", 0), box("a tall tree", 20), box("a dog", 40)]
    found = [box("A red  car", 0), box("a small tree", 20), box("a house", 80)]
    result = describe(found, true)
    assert result.boxes == Tally(3, 3, 2)
    assert result.texts == Tally(3, 3, 1)
    # All of three words, two of three, and nothing for the dog.
    assert result.word_f1_sum == pytest.approx(1 + 2 / 3)


def test_pairs_are_made_by_place_alone():
    result = describe([box("a cat", 0)], [box("a dog", 0)])
    assert (result.boxes.right_count, result.texts.right_count) == (1, 0)


@pytest.mark.parametrize(
    ("said", "true", "figure"),
    [
        ("a red car", "car red a", 1),
        ("a car", "a red car", 0.8),
        ("car car car", "car", 0.5),
        ("", "car", 0),
        ("", "", 1),
    ],
)
def test_words_agree_whatever_their_order_and_as_often_as_both_have_them(said, true, figure):
    assert word_f1(said, true) == pytest.approx(figure)
