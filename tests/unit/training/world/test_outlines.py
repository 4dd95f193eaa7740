"""Outlines follow the edges of a mask, and few points keep most of its shape."""

from __future__ import annotations

import numpy as np
import pytest
from arno.training.world import CATEGORIES, Category
from arno.training.world.outlines import simplify, trace
from arno.training.world.sprites import silhouette, whole_outline
from arno.vocabulary.regions import Point, outline_area
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw


def _area(loop: np.ndarray) -> float:
    return outline_area([Point(x, y) for x, y in loop.tolist()])


def test_a_rectangle_is_its_four_corners() -> None:
    mask = np.zeros((6, 8), dtype=bool)
    mask[1:4, 2:7] = True
    (loop,) = trace(mask)
    assert simplify(loop, 10).tolist() == [[2, 1], [7, 1], [7, 4], [2, 4]]


def test_parts_come_by_size_and_specks_do_not_come() -> None:
    mask = np.zeros((20, 20), dtype=bool)
    mask[0:4, 0:4] = mask[8:20, 8:20] = True
    mask[0, 19] = True
    assert [_area(loop) for loop in trace(mask)] == [144, 16]


def test_holes_are_filled() -> None:
    mask = np.ones((9, 9), dtype=bool)
    mask[3:6, 3:6] = False
    assert [_area(loop) for loop in trace(mask)] == [81]


def test_pixels_that_touch_at_a_corner_are_apart() -> None:
    assert len(trace(np.eye(2, dtype=bool))) == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=36, max_size=36), st.integers(3, 9))
def test_any_mask_gives_closed_outlines_with_no_more_points_than_allowed(pixels, most) -> None:
    mask = np.array(pixels).reshape(6, 6)
    for loop in trace(mask):
        steps = np.abs(loop - np.roll(loop, 1, axis=0)).sum(axis=1)
        assert (steps == 1).all()
        few = simplify(loop, most)
        assert 3 <= len(few) <= max(3, most) or len(few) == 4
        assert few[0, 1] == few[:, 1].min()


@pytest.mark.parametrize("category", CATEGORIES, ids=lambda category: category.label)
def test_few_points_keep_most_of_a_glyph(category: Category) -> None:
    mask = silhouette(category.glyph, mirrored=False)
    height, width = mask.shape
    for points_max, least in ((10, 0.7), (24, 0.8)):
        image = Image.new("L", (width, height))
        for loop in whole_outline(category.glyph, False, points_max):
            assert len(loop) <= points_max
            corners = [(x * width, y * height) for x, y in loop.tolist()]
            ImageDraw.Draw(image).polygon(corners, fill=1)
        said = np.asarray(image, dtype=bool)
        assert (said & mask).sum() / (said | mask).sum() > least
