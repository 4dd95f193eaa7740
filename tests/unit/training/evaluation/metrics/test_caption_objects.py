"""Captions are read for the objects they name, with their numbers."""

from __future__ import annotations

import pytest
from arno.training.evaluation.metrics.captions import object_tally, objects_named
from arno.training.evaluation.metrics.matching import Tally

NOUNS = {
    "car": "car",
    "cars": "car",
    "mouse": "mouse",
    "mice": "mouse",
    "light": "light",
    "traffic light": "traffic light",
    "traffic lights": "traffic light",
}


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("A red car.", {"car": 1}),
        ("Two red cars and a mouse", {"car": 2, "mouse": 1}),
        ("three small grey mice", {"mouse": 3}),
        ("12 cars, 3 mice", {"car": 12, "mouse": 3}),
        ("a traffic light beside a light", {"traffic light": 1, "light": 1}),
        ("two traffic lights", {"traffic light": 2}),
        ("a car left of another car", {"car": 2}),
        ("Five of the cars", {"car": 1}),
        ("nothing at all", {}),
        ("", {}),
    ],
)
def test_number_before_a_noun_is_how_many(caption, named):
    assert objects_named(caption, NOUNS) == named


def test_of_each_object_as_many_are_right_as_both_captions_name():
    tally = object_tally("three cars and a mouse", "two cars and two mice", NOUNS)
    assert tally == Tally(found_count=4, true_count=4, right_count=3)
