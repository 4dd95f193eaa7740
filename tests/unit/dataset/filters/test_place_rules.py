"""Which places each rule drops, against a plain loop where there is one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arno.dataset.filters.place_rules import (
    KEPT,
    PLACE_RULES,
    Places,
    judge_places,
    overlaps,
    suppressed,
)
from arno.dataset.filters.settings import FilterSettings
from arno.vocabulary import Box, iou
from hypothesis import given
from hypothesis import strategies as st


def places(*boxes, scores=None, images=None, names=None, agreements=None) -> Places:
    count = len(boxes)
    return Places(
        images=np.array(images or [0] * count, np.int64),
        boxes=np.array(boxes, np.float64).reshape(count, 4),
        sizes=np.array([[200.0, 100.0]] * count).reshape(count, 2),
        scores=np.array(scores or [math.nan] * count, np.float64),
        agreements=np.array(agreements or [math.nan] * count, np.float64),
        names=np.array(names or [0] * count, np.int64),
    )


def rules(given_places: Places, **settings) -> list[str]:
    codes = judge_places(given_places, FilterSettings(**settings))
    return ["kept" if code == KEPT else PLACE_RULES[code] for code in codes]


def test_score_below_the_threshold_is_dropped_and_one_on_it_is_kept():
    boxes = [(0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)]
    given_places = places(*boxes, scores=[0.29, 0.3, math.nan])
    assert rules(given_places, score_min=0.3) == ["threshold", "kept", "kept"]


def test_agreement_below_the_least_is_dropped_and_none_is_kept():
    boxes = [(0, 0, 10, 10), (20, 0, 30, 10)]
    given_places = places(*boxes, agreements=[0.33, math.nan])
    assert rules(given_places, agreement_min=0.5) == ["agreement", "kept"]


@pytest.mark.parametrize(
    ("box", "rule"),
    [
        ((-40, 0, 40, 10), "kept"),  # half of it
        ((-41, 0, 40, 10), "outside"),
        ((300, 10, 320, 20), "outside"),
        ((10, 10, 10, 20), "degenerate"),
        ((20, 10, 10, 20), "degenerate"),  # inverted
        ((10, 10, 11.9, 20), "degenerate"),  # below two pixels
        ((10, 10, 12, 20), "kept"),
        ((150, 50, 249.9, 60), "kept"),
    ],
)
def test_place_outside_or_without_area_is_dropped(box, rule):
    assert rules(places(box)) == [rule]


def test_worse_of_two_boxes_of_one_text_is_dropped():
    boxes = [(0, 0, 10, 10), (0, 0, 10, 10.5), (0, 0, 10, 10), (0, 0, 10, 10)]
    given_places = places(*boxes, scores=[0.5, 0.9, 0.5, 0.4], names=[0, 0, 1, 0])
    assert rules(given_places) == ["suppressed", "kept", "kept", "suppressed"]


def test_boxes_of_different_images_do_not_meet():
    given_places = places((0, 0, 9, 9), (0, 0, 9, 9), images=[0, 1])
    assert rules(given_places) == ["kept", "kept"]


def test_dropped_box_suppresses_no_other():
    """Of three in a row, the middle falls to the first and then cannot hit the last."""
    boxes = [(0, 0, 10, 10), (2, 0, 12, 10), (4, 0, 14, 10)]
    given_places = places(*boxes, scores=[0.9, 0.8, 0.7])
    assert rules(given_places, nms_iou=0.5) == ["kept", "suppressed", "kept"]


def test_places_above_the_count_are_dropped_worst_first():
    boxes = [(20.0 * at, 0, 20 * at + 10, 10) for at in range(5)]
    given_places = places(*boxes, scores=[0.5, 0.9, 0.7, 0.6, 0.8])
    assert rules(given_places, regions_max=3) == ["too many", "kept", "kept", "too many", "kept"]


def test_no_place_is_no_verdict():
    assert rules(places()) == []


def test_settings_outside_their_range_are_refused():
    with pytest.raises(ValueError, match="less than or equal to 1"):
        FilterSettings(nms_iou=1.5)
    with pytest.raises(ValueError, match="three numbers"):
        FilterSettings(objects_max=(1, 2))


sides = st.integers(0, 30)
boxes = st.lists(st.tuples(sides, sides, sides, sides), min_size=1, max_size=40)


@given(boxes, st.data())
def test_suppression_is_that_of_a_plain_loop(corners, data):
    count = len(corners)
    arrays = np.array([(x, y, x + w, y + h) for x, y, w, h in corners], np.float64)
    scores = np.array(data.draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))) / 5
    groups = np.array(data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)))
    dropped = suppressed(arrays, scores, groups, 0.4)
    expected = np.zeros(count, bool)
    order = sorted(range(count), key=lambda at: (-scores[at], at))
    for place, best in enumerate(order):
        for other in order[place + 1 :]:
            if groups[best] == groups[other] and not expected[best]:
                expected[other] |= iou(Box(*arrays[best]), Box(*arrays[other])) > 0.4
    assert dropped.tolist() == expected.tolist()


def test_overlap_is_that_of_the_vocabulary():
    one, other = np.array([0.0, 0, 10, 10]), np.array([5.0, 5, 15, 15])
    assert overlaps(one, other) == pytest.approx(iou(Box(0, 0, 10, 10), Box(5, 5, 15, 15)))
    assert overlaps(one, np.zeros(4)) == 0
