"""Pixels to location tokens and back."""

import math

import pytest
from arno.vocabulary import (
    BIN_COUNT,
    Box,
    ImageSize,
    Point,
    Polygon,
    QuadBox,
    dequantise,
    quantise,
    render_bins,
    shape_bins,
)
from arno.vocabulary.locations import (
    box_from_bins,
    points_from_bins,
    polygon_from_bins,
    quad_from_bins,
)
from hypothesis import given
from hypothesis import strategies as st
from unit.vocabulary.spelling import quick

sides = st.integers(1, 100_000)
bins = st.integers(0, BIN_COUNT - 1)
sizes = st.builds(ImageSize, sides, sides)


@quick
@given(side=sides, share=st.floats(0, 1))
def test_a_round_trip_moves_a_coordinate_by_at_most_half_a_bin(side, share):
    value = side * share
    half_a_bin = side / BIN_COUNT / 2
    moved = abs(dequantise(quantise(value, side), side) - value)
    assert moved <= half_a_bin * (1 + 1e-9)


@quick
@given(side=sides, location_bin=bins)
def test_a_bin_survives_the_round_trip_through_pixels(side, location_bin):
    assert quantise(dequantise(location_bin, side), side) == location_bin


@pytest.mark.parametrize(
    ("value", "location_bin"),
    [(-math.inf, 0), (0.0, 0), (0.999, 0), (1.0, 1), (999.0, 999), (1e300, 999), (math.inf, 999)],
)
def test_coordinates_outside_the_image_go_to_the_nearest_bin(value, location_bin):
    assert quantise(value, 1000) == location_bin


def test_a_coordinate_that_is_no_number_has_no_bin():
    with pytest.raises(ValueError, match="NaN"):
        quantise(math.nan, 1000)


@quick
@given(size=sizes, some=st.lists(bins, min_size=8, max_size=8))
def test_every_shape_survives_the_round_trip_through_bins(size, some):
    assert shape_bins(box_from_bins(some[:4], size), size) == tuple(some[:4])
    assert shape_bins(quad_from_bins(some, size), size) == tuple(some)
    assert shape_bins((polygon_from_bins(some, size),), size) == tuple(some)


def test_each_axis_has_its_own_scale():
    size = ImageSize(width_px=2000, height_px=500)
    assert shape_bins(Box(20, 20, 2000, 500), size) == (10, 40, 999, 999)
    assert box_from_bins((10, 40, 20, 60), size) == Box(21.0, 20.25, 41.0, 30.25)


def test_several_polygons_give_their_bins_one_after_the_other():
    one = Polygon((Point(1, 2), Point(3, 4), Point(5, 6)))
    other = Polygon((Point(7, 8), Point(9, 10), Point(11, 12)))
    assert shape_bins((one, other), ImageSize(1000, 1000)) == tuple(range(1, 13))


def test_an_odd_last_bin_is_no_point():
    assert points_from_bins((1, 2, 3), ImageSize(1000, 1000)) == (Point(1.5, 2.5),)


@pytest.mark.parametrize("count", [0, 3, 5, 7, 9])
def test_boxes_and_quad_boxes_need_their_exact_number_of_bins(count):
    for build in (box_from_bins, quad_from_bins):
        with pytest.raises(ValueError, match="bins are needed"):
            build(tuple(range(count)), ImageSize(1000, 1000))


def test_a_quad_box_keeps_the_order_of_its_corners():
    size = ImageSize(1000, 1000)
    quad = QuadBox((Point(1, 2), Point(3, 2), Point(3, 4), Point(1, 4)))
    assert shape_bins(quad, size) == (1, 2, 3, 2, 3, 4, 1, 4)


def test_bins_are_rendered_as_the_tokens_of_the_model():
    assert render_bins((0, 52, 999)) == "<loc_0><loc_52><loc_999>"
    assert render_bins(()) == ""
