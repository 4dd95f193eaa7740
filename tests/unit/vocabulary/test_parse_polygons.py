"""How outlines are read from tokens: masks and open vocabulary detections."""

import pytest
from arno.vocabulary import Box, Point, Region, Task, parse
from unit.vocabulary.spelling import THOUSAND, VOCABULARY, locations, said

MASK_TASKS = (Task.REFERRING_EXPRESSION_SEGMENTATION, Task.REGION_TO_SEGMENTATION)

A = locations(range(6))
B = locations(range(10, 18))
A_BINS, B_BINS = (6,), (8,)


def regions(task: Task, text: str) -> tuple[Region, ...]:
    return parse(task, said(text), VOCABULARY, THOUSAND).regions


def outline_sizes(region: Region) -> tuple[int, ...]:
    """Return the number of coordinates of each polygon, or nothing for a box."""
    if not isinstance(region.shape, tuple):
        return ()
    return tuple(2 * len(polygon.points) for polygon in region.shape)


MASKS = {
    "nothing": ("<s></s>", []),
    "one outline": (A, [(6,)]),
    "two outlines of one mask": (f"{A}<sep>{B}", [(6, 8)]),
    "two masks": (f"<poly>{A}</poly><poly>{B}</poly>", [(6,), (8,)]),
    "two outlines inside a fence": (f"<poly>{A}<sep>{B}</poly>", [(6, 8)]),
    "an odd last location": (f"{A}<loc_9>", [(6,)]),
    "an odd location in the first outline": (f"{A}<loc_9><sep>{B}", [(6, 8)]),
    "an outline of two points": (f"{locations(range(4))}<sep>{A}", [(6,)]),
    "only an outline of two points": (locations(range(5)), []),
    "an outline cut to two points": (f"{A}<sep>{locations(range(5))}", [(6,)]),
    "separators only": ("<sep><sep><sep><sep>", []),
    "a fence that is never closed": (f"<poly>{A}</poly><poly>{B}", [(6,), (8,)]),
    "a fence opened twice": (f"<poly>{A}<poly>{B}</poly>", [(6,), (8,)]),
    "a fence that was never opened": (f"{A}</poly>", [(6,)]),
    "locations outside the fence": (f"{B}<poly>{A}</poly>{B}", [(6,)]),
    "words around": (f"the dog{A}and{B}", [(6,), (8,)]),
    "a repeated answer": (f"<poly>{A}</poly>" * 3, [(6,)] * 3),
}


@pytest.mark.parametrize("task", MASK_TASKS)
@pytest.mark.parametrize(("text", "expected"), MASKS.values(), ids=MASKS.keys())
def test_each_mask_has_its_whole_outlines(task, text, expected):
    found = regions(task, text)
    assert [outline_sizes(region) for region in found] == expected
    assert {region.label for region in found} <= {""}


def test_the_bins_of_a_mask_are_those_of_its_outlines_one_after_the_other():
    region = regions(MASK_TASKS[0], f"{A}<loc_9><sep>{locations(range(4))}<sep>{B}")[0]
    assert region.bins == (*range(6), *range(10, 18))


def test_the_points_of_an_outline_are_the_centres_of_its_bins():
    region = regions(MASK_TASKS[0], A)[0]
    assert isinstance(region.shape, tuple)
    assert region.shape[0].points == (Point(0.5, 1.5), Point(2.5, 3.5), Point(4.5, 5.5))


BOX = locations(range(4))

OPEN = {
    "nothing": ("<s></s>", []),
    "boxes": (f"car{BOX}{BOX}dog{BOX}", [("car", ()), ("car", ()), ("dog", ())]),
    "an outline": (f"car<poly>{A}</poly>", [("car", (6,))]),
    "two regions of one label": (
        f"car<poly>{A}</poly><poly>{B}</poly>",
        [("car", A_BINS), ("car", B_BINS)],
    ),
    "outlines and boxes": (f"car<poly>{A}</poly>dog{BOX}", [("car", (6,)), ("dog", ())]),
    "an outline without a label": (f"<poly>{A}</poly>", []),
    "an outline cut short": (f"car<poly>{A}<sep>{BOX}", [("car", (6,))]),
    "a fence cut open": (f"car<poly>{A}</poly><poly>{B}", [("car", (6,)), ("car", (8,))]),
    "a label cut before its place": (f"car{BOX}dog<poly>", [("car", ())]),
}


@pytest.mark.parametrize(("text", "expected"), OPEN.values(), ids=OPEN.keys())
def test_open_detections_are_outlines_where_fenced_and_boxes_elsewhere(text, expected):
    found = regions(Task.OPEN_VOCABULARY_DETECTION, text)
    assert [(region.label, outline_sizes(region)) for region in found] == expected
    assert all(isinstance(r.shape, Box) for r in found if not outline_sizes(r))


def test_an_outline_keeps_its_label_in_any_script():
    region = regions(Task.OPEN_VOCABULARY_DETECTION, f"café<poly>{A}</poly>")[0]
    assert region.label == "café"
    assert region.label_score == region.official_location_score == pytest.approx(0.3678794)
    sides = [max(region.bins[axis::2]) - min(region.bins[axis::2]) for axis in (0, 1)]
    expected = max(0.0, 1 - sum(2 * 0.5 / side for side in sides))
    assert region.location_score == pytest.approx(expected)
