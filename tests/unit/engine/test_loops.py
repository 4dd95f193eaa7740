"""An answer that ends in a loop is distinguished from one that is merely long."""

from __future__ import annotations

import random

import pytest
from arno.engine.loops import ends_in_loop

LOCATIONS = range(1000, 2000)


def boxes(label: list[int], count: int) -> list[int]:
    chance = random.Random(1)
    return [token for _ in range(count) for token in [*label, *chance.choices(LOCATIONS, k=4)]]


@pytest.mark.parametrize("phrase", [[5], [5, 6], list(range(10, 50))])
def test_a_phrase_again_and_again_is_a_loop(phrase):
    assert ends_in_loop([1, 2, 3, *phrase * 30], LOCATIONS)


def test_the_same_thing_at_ever_new_places_is_a_loop():
    assert ends_in_loop([0, *boxes([7, 8], 100)], LOCATIONS)


def test_different_things_at_different_places_are_not():
    answer = [token for number in range(100) for token in boxes([number], 1)]
    assert not ends_in_loop(answer, LOCATIONS)


def test_text_is_not():
    assert not ends_in_loop(random.Random(2).choices(range(500), k=1000), LOCATIONS)


def test_an_outline_of_many_points_is_not():
    assert not ends_in_loop([7, 8, *random.Random(4).choices(LOCATIONS, k=200)], LOCATIONS)


def test_the_same_places_again_and_again_are_a_loop():
    assert ends_in_loop([7, 8, *[1001, 1002, 1003, 1004] * 50], LOCATIONS)


@pytest.mark.parametrize("answer", [[], [1], [1, 1, 1]])
def test_too_little_to_tell_is_not(answer):
    assert not ends_in_loop(answer, LOCATIONS)


def test_a_loop_at_the_beginning_that_was_left_is_not():
    assert not ends_in_loop([*[5] * 40, *random.Random(3).choices(range(500), k=100)], LOCATIONS)
