"""VQA accuracy as the challenge counts it."""

from __future__ import annotations

import pytest
from arno.training.evaluation.metrics.texts import normalised, vqa_accuracy


@pytest.mark.parametrize(
    ("agreeing", "accuracy"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)]
)
def test_of_ten_people_who_answered_each_agreeing_one_counts_three_tenths(agreeing, accuracy):
    answers = ["red"] * agreeing + [f"other {number}" for number in range(10 - agreeing)]
    assert vqa_accuracy("red", answers) == pytest.approx(accuracy)


def test_single_answer_is_right_or_wrong():
    assert vqa_accuracy("two", ["2"]) == 1
    assert vqa_accuracy("three", ["2"]) == 0


def test_of_two_people_one_is_enough_for_half():
    assert vqa_accuracy("red", ["red", "blue"]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("The Red Car!", "red car"),
        ("an apple, a pear", "apple pear"),
        ("Three", "3"),
        ("none", "0"),
        ("don't", "dont"),
        ("don\u2019t", "dont"),
        ("at 10:30", "at 10:30"),
        ("1,000", "1,000"),
        ("3.5.", "3.5"),
        ("yes.", "yes"),
        ("left-hand", "left hand"),
        ("", ""),
    ],
)
def test_answers_are_compared_without_case_articles_and_punctuation(answer, form):
    assert normalised(answer) == form


def test_question_without_answers_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        vqa_accuracy("red", [])
