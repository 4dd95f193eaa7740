"""Words are right where text and place are."""

from __future__ import annotations

import math

import pytest
from arno.training.evaluation.metrics.matching import Tally
from arno.training.evaluation.metrics.regions import read_regions
from arno.vocabulary import ImageSize, Point, QuadBox, Region

SIZE = ImageSize(200, 200)


def word(text: str, x: float, y: float, *, degrees: float = 0) -> Region:
    """A word of 80 x 20 pixels, turned about its middle."""
    angle = math.radians(degrees)
    corners = ((-40, -10), (40, -10), (40, 10), (-40, 10))
    turned = (
        Point(
            x + a * math.cos(angle) - b * math.sin(angle),
            y + a * math.sin(angle) + b * math.cos(angle),
        )
        for a, b in corners
    )
    first, second, third, fourth = turned
    return Region(text, QuadBox((first, second, third, fourth)))


def test_text_and_place_must_both_be_right():
    true = [word("EXIT", 60, 20), word("OPEN", 60, 60), word("STOP", 60, 100)]
    found = [word("EXIT", 62, 21), word("OPFN", 60, 60), word("STOP", 60, 180)]
    assert read_regions(found, true, SIZE) == Tally(3, 3, 1)


@pytest.mark.parametrize(("text", "right"), [("EXIT  NOW", 1), ("Exit now", 0)])
def test_case_counts_and_runs_of_spaces_do_not(text, right):
    found = read_regions([word(text, 60, 20)], [word("EXIT NOW", 60, 20)], SIZE)
    assert found.right_count == right


def test_place_of_a_turned_word_is_its_quad_box_not_the_upright_one():
    # Turned to either side, the upright boxes are the same, and the words lie across each other.
    one, other = word("EXIT", 100, 100, degrees=45), word("EXIT", 100, 100, degrees=-45)
    assert read_regions([other], [one], SIZE).right_count == 0
    nearly = word("EXIT", 100, 100, degrees=40)
    assert read_regions([nearly], [one], SIZE).right_count == 1


def test_word_that_is_written_twice_has_to_be_read_twice():
    twice = [word("EXIT", 60, 20), word("EXIT", 60, 60)]
    assert read_regions(twice[:1], twice, SIZE).f1 == pytest.approx(2 / 3)
    assert read_regions(twice[:1] * 2, twice, SIZE) == Tally(2, 2, 1)
