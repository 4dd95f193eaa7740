"""Overlaps of outlines are those of COCO's masks, and of areas known by hand."""

from __future__ import annotations

import pytest
from arno.training.evaluation.metrics.masks import (
    MaskOverlap,
    mask_overlap,
    overall_iou,
    shape_overlap,
)
from arno.vocabulary import Box, ImageSize, Point, Polygon, QuadBox, Region
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

SIZE = ImageSize(100, 80)


def outline(*sides: float) -> Polygon:
    return Polygon(tuple(map(Point, sides[0::2], sides[1::2])))


def rectangle(x0: float, y0: float, x1: float, y1: float) -> Polygon:
    return outline(x0, y0, x1, y0, x1, y1, x0, y1)


def masked(*polygons: Polygon) -> Region:
    return Region("", polygons)


points = st.builds(Point, st.floats(-10, 110, width=32), st.floats(-10, 90, width=32))
polygons = st.lists(points, min_size=3, max_size=8).map(lambda found: Polygon(tuple(found)))
masks = st.lists(polygons, min_size=1, max_size=3)


@settings(deadline=None)
@given(one=masks, other=masks)
def test_overlap_is_that_of_pycocotools(one, other):
    def runs(shape: list[Polygon]) -> object:
        paths = [[side for p in polygon.points for side in (p.x, p.y)] for polygon in shape]
        return coco_mask.merge(coco_mask.frPyObjects(paths, SIZE.height_px, SIZE.width_px))

    found = mask_overlap([masked(*one)], [masked(*other)], SIZE)
    first, second = runs(one), runs(other)
    shared = int(coco_mask.area(coco_mask.merge([first, second], intersect=True)))
    assert found.shared_px == shared
    assert found.union_px == int(coco_mask.area(coco_mask.merge([first, second])))


def test_half_a_rectangle_overlaps_by_half():
    whole, half = masked(rectangle(10, 10, 50, 50)), masked(rectangle(10, 10, 30, 50))
    assert mask_overlap([half], [whole], SIZE) == MaskOverlap(800, 1600)
    assert mask_overlap([half], [whole], SIZE).iou == 0.5


def test_regions_and_polygons_of_an_answer_are_one_mask():
    whole = [masked(rectangle(0, 0, 40, 40))]
    parts = [masked(rectangle(0, 0, 20, 40), rectangle(20, 0, 40, 20))]
    parts.append(masked(rectangle(20, 20, 40, 40)))
    assert mask_overlap(parts, whole, SIZE).iou == 1


def test_overlapping_parts_count_once():
    twice = [masked(rectangle(0, 0, 40, 40)), masked(rectangle(0, 0, 40, 40))]
    assert mask_overlap(twice, twice, SIZE) == MaskOverlap(1600, 1600)


@pytest.mark.parametrize("nothing", [[], [masked(outline(0, 0, 9, 9))]], ids=["none", "a line"])
def test_nothing_found_overlaps_with_nothing(nothing):
    assert mask_overlap(nothing, [masked(rectangle(0, 0, 10, 10))], SIZE).iou == 0
    assert mask_overlap(nothing, [], SIZE).iou == 0


def test_overall_overlap_weighs_large_objects_more_than_the_mean_does():
    overlaps = [MaskOverlap(90, 100), MaskOverlap(0, 10)]
    assert overall_iou(overlaps) == pytest.approx(90 / 110)
    assert overall_iou([]) == 0


def test_turned_quad_box_overlaps_with_its_upright_box_by_half():
    diamond = QuadBox((Point(50, 10), Point(80, 40), Point(50, 70), Point(20, 40)))
    assert shape_overlap(diamond, Box(20, 10, 80, 70), SIZE) == pytest.approx(0.5, abs=0.02)
    assert shape_overlap(diamond, diamond, SIZE) == 1
