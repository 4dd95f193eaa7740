"""Each task has its measures, and each case a goodness by which the worst are found."""

from __future__ import annotations

import pytest
from arno.cli.eval.figures_table import NAMES
from arno.training.data import open_data
from arno.training.evaluation.cases import Case
from arno.training.evaluation.figures import figures_of, nouns_of
from arno.training.evaluation.questions import questions_of
from arno.vocabulary import (
    Box,
    DetectionAnswer,
    GroundedPhrase,
    GroundingAnswer,
    OcrAnswer,
    Point,
    Polygon,
    QuadBox,
    Region,
    SegmentationAnswer,
    Task,
    TextAnswer,
)
from hypothesis import given
from hypothesis import strategies as st
from support.builders import box
from support.judging import case

WORLD = "world:seed=7,n=6"
SQUARE = (Polygon((Point(0, 0), Point(40, 0), Point(40, 40), Point(0, 40))),)
HALF = (Polygon((Point(0, 0), Point(20, 0), Point(20, 40), Point(0, 40))),)
AREA = Box(0, 0, 50, 50)


@pytest.fixture(scope="module")
def truths() -> dict[Task, list[Case]]:
    """Questions of every task, answered with the truth."""
    found: dict[Task, list[Case]] = {}
    for question in questions_of(open_data(WORLD)).questions:
        found.setdefault(question.spec.task, []).append(Case(question, question.truths[0]))
    return found


@pytest.mark.parametrize("task", Task)
def test_truth_itself_is_perfect_by_every_measure_of_its_task(truths, task):
    figures = figures_of(task, truths[task], nouns_of(WORLD))
    perfect = {"character_error": 0.0, "cider": 10.0}
    for name, value in figures.values.items():
        assert value == pytest.approx(perfect.get(name, 1.0)), name
    assert figures.goodness == pytest.approx([1.0] * len(truths[task]))


@pytest.mark.parametrize("task", Task)
def test_nothing_said_is_worth_nothing_and_every_figure_has_a_name_for_people(truths, task):
    silent = [Case(one.question, None) for one in truths[task]]
    figures = figures_of(task, silent, {})
    nothing = {"character_error": 1.0}
    for name, value in figures.values.items():
        assert value == pytest.approx(nothing.get(name, 0.0)), name
        assert name in NAMES
    assert figures.goodness == pytest.approx([0.0] * len(silent))


def test_detections_are_judged_with_scores_and_without():
    true = DetectionAnswer((box("cat", 0, 0, 40, 40), box("dog", 50, 0, 90, 40)))
    said = DetectionAnswer(
        (box("cat", 0, 0, 40, 20, score=0.9), box("dog", 50, 0, 90, 40), box("dog", 0, 0, 9, 9))
    )
    values = figures_of(Task.OD, [case(Task.OD, said, true)], {}).values
    assert values["map_50"] == pytest.approx(1)  # each category's first box is right
    assert values["precision_50"] == pytest.approx(2 / 3)
    assert values["recall_50"] == 1
    assert values["mean_iou"] == pytest.approx(0.75)


def test_masks_are_judged_by_their_mean_and_by_all_pixels():
    small = (Polygon((Point(0, 0), Point(10, 0), Point(10, 10), Point(0, 10))),)
    task = Task.REGION_TO_SEGMENTATION
    answers = [
        case(task, masked(HALF), masked(SQUARE), region=AREA),
        case(task, masked(small), masked(small), region=AREA),
    ]
    values = figures_of(task, answers, {}).values
    assert values["mean_iou"] == pytest.approx(0.75)
    assert values["overall_iou"] == pytest.approx(900 / 1700)
    assert values["mask_accuracy_50"] == 1


def masked(shape: tuple[Polygon, ...]) -> SegmentationAnswer:
    return SegmentationAnswer((Region("", shape),))


def test_groundings_are_judged_by_phrase_and_by_box():
    def said(*boxes: Region) -> GroundingAnswer:
        return GroundingAnswer((GroundedPhrase("cats", boxes),))

    true = said(box("cats", 0, 0, 20, 20), box("cats", 40, 0, 60, 20))
    one = said(box("cats", 0, 0, 20, 20))
    task = Task.CAPTION_TO_PHRASE_GROUNDING
    values = figures_of(task, [case(task, one, true, text="cats")], {}).values
    assert values == {"accuracy_50": 1.0, "box_f1": pytest.approx(2 / 3)}


def test_words_in_places_are_judged_by_both():
    quad = QuadBox((Point(0, 0), Point(40, 0), Point(40, 10), Point(0, 10)))
    said, true = (OcrAnswer((Region(text, quad),)) for text in ("EXIT", "EX1T"))
    task = Task.OCR_WITH_REGION
    answers = [case(task, said, true), case(task, said, said)]
    assert figures_of(task, answers, {}).values["f1"] == pytest.approx(0.5)


def test_any_of_several_true_texts_is_right():
    truths = [TextAnswer("a cat"), TextAnswer("a small cat")]
    answers = [case(Task.CAPTION, TextAnswer("a small cat"), *truths)]
    figures = figures_of(Task.CAPTION, answers, {})
    assert figures.values["exact"] == 1
    assert figures.goodness == (1.0,)


def test_objects_of_captions_are_judged_where_the_nouns_are_known():
    answers = [case(Task.CAPTION, TextAnswer("two cats"), TextAnswer("a cat and a dog"))]
    with_nouns = figures_of(Task.CAPTION, answers, nouns_of(WORLD)).values
    assert next(iter(with_nouns)) == "object_f1"
    assert with_nouns["object_f1"] == pytest.approx(0.5)
    assert "object_f1" not in figures_of(Task.CAPTION, answers, {}).values


def test_people_who_disagree_make_a_question_worth_what_they_agree_on():
    truths = [TextAnswer(text) for text in ("red", "red", "blue")]
    answers = [case(Task.PROMPT, TextAnswer("red"), *truths, text="what colour?")]
    # Left out in turn: of the others two, one, one say red, of two each.
    expected = (1 / 2 + 1 / 2 + 1) / 3
    assert figures_of(Task.PROMPT, answers, {}).goodness == (pytest.approx(expected),)


@given(shift=st.floats(0, 39))
def test_tighter_box_is_the_better_case(shift):
    true = DetectionAnswer((box("cat", 0, 0, 40, 40),))
    cases = [
        case(Task.OD, DetectionAnswer((box("cat", by, 0, 40 + by, 40),)), true)
        for by in (shift / 2, shift)
    ]
    first, second = figures_of(Task.OD, cases, {}).goodness
    assert 1 >= first >= second >= 0
