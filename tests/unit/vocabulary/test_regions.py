"""The geometry of shapes."""

import pytest
from arno.vocabulary import Box, ImageSize, Point, Polygon, QuadBox, area, bounding_box, iou
from arno.vocabulary.regions import corners, outline_area
from hypothesis import given
from hypothesis import strategies as st
from unit.vocabulary.spelling import quick

numbers = st.floats(-1e6, 1e6)
boxes = st.builds(Box, numbers, numbers, numbers, numbers)

TRIANGLE = Polygon((Point(0, 0), Point(4, 0), Point(0, 3)))
SQUARE = Polygon((Point(10, 10), Point(12, 10), Point(12, 12), Point(10, 12)))


@pytest.mark.parametrize(("width", "height"), [(0, 1), (1, 0), (-3, 5)])
def test_an_image_without_pixels_is_refused(width, height):
    with pytest.raises(ValueError, match="at least 1 x 1"):
        ImageSize(width, height)


def test_every_shape_has_the_bounding_box_of_its_corners():
    quad = QuadBox((Point(5, 1), Point(9, 5), Point(5, 9), Point(1, 5)))
    assert bounding_box(Box(1, 2, 3, 4)) == Box(1, 2, 3, 4)
    assert bounding_box(quad) == Box(1, 1, 9, 9)
    assert bounding_box((TRIANGLE, SQUARE)) == Box(0, 0, 12, 12)


def test_no_points_have_no_bounding_box():
    with pytest.raises(ValueError, match="without points"):
        bounding_box(())


def test_the_corners_of_a_box_go_clockwise_from_the_top_left():
    assert corners(Box(1, 2, 3, 4)) == (Point(1, 2), Point(3, 2), Point(3, 4), Point(1, 4))


def test_an_area_is_that_inside_all_edges():
    assert area(Box(1, 2, 4, 4)) == 6
    assert area(QuadBox(corners(Box(1, 2, 4, 4)))) == 6  # type: ignore[arg-type]
    assert area((TRIANGLE,)) == 6
    assert area((TRIANGLE, SQUARE)) == 10


def test_an_inverted_box_has_no_area():
    assert area(Box(4, 4, 1, 1)) == 0


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_points_have_no_area(count):
    assert outline_area(SQUARE.points[:count]) == 0


def test_the_direction_and_the_start_of_an_outline_do_not_change_its_area():
    points = SQUARE.points
    assert outline_area(points[::-1]) == outline_area(points[2:] + points[:2]) == 4


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Box(0, 0, 10, 10), Box(0, 0, 10, 10), 1.0),
        (Box(0, 0, 10, 10), Box(5, 0, 15, 10), 1 / 3),
        (Box(0, 0, 10, 10), Box(10, 0, 20, 10), 0.0),
        (Box(0, 0, 10, 10), Box(30, 30, 40, 40), 0.0),
        (Box(5, 5, 5, 5), Box(5, 5, 5, 5), 0.0),
    ],
    ids=["the same", "overlapping", "touching", "apart", "empty"],
)
def test_iou_is_the_shared_part_of_the_union(one, other, expected):
    assert iou(one, other) == pytest.approx(expected)


@quick
@given(one=boxes, other=boxes)
def test_iou_is_symmetric_and_between_none_and_all(one, other):
    assert iou(one, other) == iou(other, one)
    assert 0 <= iou(one, other) <= 1 + 1e-9
