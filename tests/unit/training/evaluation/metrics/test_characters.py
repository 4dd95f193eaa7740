"""Character errors are Levenshtein's distance over the characters of the truth."""

from __future__ import annotations

import pytest
from arno.training.evaluation.metrics.texts import ReadText, error_rate, read_text, spaced
from hypothesis import given, settings
from hypothesis import strategies as st


def table_distance(one: str, other: str) -> int:
    """The textbook's table, row by row."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        before, row = row, [i]
        for j, b in enumerate(other, start=1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b)))
    return row[-1]


@settings(max_examples=300)
@given(one=st.text("abc ", max_size=80), other=st.text("abc ", max_size=80))
def test_distance_is_that_of_the_plain_table(one, other):
    distance = table_distance(spaced(one), spaced(other))
    assert read_text(one, other) == ReadText(distance, len(spaced(other)))


@given(one=st.text(max_size=12), other=st.text(max_size=12))
def test_distance_counts_characters_of_every_script(one, other):
    distance = table_distance(spaced(one), spaced(other))
    assert read_text(one, other) == ReadText(distance, len(spaced(other)))


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("", "", 0), ("naïve", "naive", 1)],
)
def test_known_distances(one, other, distance):
    assert read_text(one, other).edit_count == distance


def test_white_space_counts_as_one_space_and_case_counts():
    assert read_text(" OPEN \n NOW", "OPEN NOW") == ReadText(0, 8)
    assert read_text("open NOW", "OPEN NOW") == ReadText(4, 8)


def test_rate_is_over_all_characters_not_the_mean_of_rates():
    texts = [read_text("a", "b"), read_text("aaaaaaaaa", "aaaaaaaaa")]
    assert error_rate(texts) == pytest.approx(0.1)


def test_rate_exceeds_one_where_far_too_much_was_read():
    assert error_rate([read_text("abcdef", "ab")]) == 2


@pytest.mark.parametrize(("said", "rate"), [("", 0), ("x", 1)], ids=["silence", "words"])
def test_where_nothing_is_written_only_silence_is_right(said, rate):
    assert read_text(said, "").error_rate == rate
    assert error_rate([]) == 0
