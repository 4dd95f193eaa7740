"""Given answers are checked, written as the model would write them, and ranked."""

import math

import pytest
from arno.errors import InvalidFieldError
from arno.vocabulary import Box, Decoded, Point, Polygon, QuadBox, Region, Task, TaskSpec, parse
from arno.vocabulary.candidates import check_candidates, rank_candidates, write_candidates
from hypothesis import given
from hypothesis import strategies as st
from unit.vocabulary.spelling import THOUSAND, VOCABULARY, quick, spell

BOX = Box(10.5, 20.5, 30.5, 40.5)
LOCATIONS = "<loc_10><loc_20><loc_30><loc_40>"
TRIANGLE = (Polygon((Point(1, 1), Point(9, 1), Point(9, 9))),)


@pytest.mark.parametrize(
    ("task", "candidate", "written"),
    [
        (Task.CAPTION, "a cat", "a cat"),
        (Task.OD, (Region("cat", BOX), Region("dog", BOX)), f"cat{LOCATIONS}dog{LOCATIONS}"),
        (Task.REGION_PROPOSAL, (Region("cat", BOX),), LOCATIONS),
        (
            Task.CAPTION_TO_PHRASE_GROUNDING,
            (Region("cat", BOX), Region("cat", BOX), Region("dog", BOX)),
            f"cat{LOCATIONS}{LOCATIONS}dog{LOCATIONS}",
        ),
        (
            Task.OCR_WITH_REGION,
            (Region("EXIT", BOX),),
            "EXIT<loc_10><loc_20><loc_30><loc_20><loc_30><loc_40><loc_10><loc_40>",
        ),
        (
            Task.REFERRING_EXPRESSION_SEGMENTATION,
            (Region("left out", TRIANGLE),),
            "<loc_1><loc_1><loc_9><loc_1><loc_9><loc_9>",
        ),
        (Task.OD, (), ""),
    ],
)
def test_candidates_are_written_as_the_model_writes_them(task, candidate, written):
    check_candidates(TaskSpec(task, candidates=[candidate]))
    assert write_candidates(task, [candidate], THOUSAND) == (written,)


@pytest.mark.parametrize(
    ("task", "candidate", "fault"),
    [
        (Task.CAPTION, "a cat</s>", r"candidates\[0\]: must not hold the token </s>"),
        (Task.CAPTION, [Region("cat", BOX)], "answers with text"),
        (Task.OD, [Region("", BOX)], r"candidates\[0\]\.regions\[0\]\.label: blank"),
        (Task.OD, [Region("<loc_5>", BOX)], "must not hold the token <loc_"),
        (Task.OD, [Region("a<sep>", BOX)], "must not hold the token <sep>"),
        (Task.OD, [Region("cat", TRIANGLE)], "other shapes.*boxes"),
        (Task.OD, [Region("cat", Box(0, 0, math.nan, 1))], "finite"),
        (Task.REGION_TO_SEGMENTATION, [Region("", ())], "finite"),
    ],
)
def test_what_is_no_answer_to_the_task_is_refused_by_name(task, candidate, fault):
    with pytest.raises(InvalidFieldError, match=fault):
        check_candidates(TaskSpec(task, candidates=[candidate]))


def test_one_text_is_no_list_of_candidates():
    with pytest.raises(InvalidFieldError, match="candidates: must be a list"):
        TaskSpec(Task.CAPTION, candidates="a cat")


@quick
@given(st.lists(st.floats(-2000, 0), min_size=1, max_size=9))
def test_the_likeliest_is_the_answer_and_the_posteriors_share_one(totals):
    decoded = [Decoded(spell(f"c{n}"), [total, 0.0]) for n, total in enumerate(totals)]
    answers = [parse(Task.CAPTION, one, VOCABULARY, THOUSAND) for one in decoded]
    ranked = rank_candidates(answers, decoded)
    assert ranked.value == answers[totals.index(max(totals))].value
    assert sum(one.posterior for one in ranked.candidates) == pytest.approx(1.0)
    assert [one.answer for one in ranked.candidates] == answers
    for one, other in zip(ranked.candidates[1:], ranked.candidates, strict=False):
        assert (one.posterior >= other.posterior) or (one.log_likelihood < other.log_likelihood)


def test_quad_boxes_stay_as_they_are():
    quad = QuadBox((Point(1, 1), Point(5, 2), Point(5, 4), Point(1, 3)))
    (written,) = write_candidates(Task.OCR_WITH_REGION, [(Region("A", quad),)], THOUSAND)
    assert written == "A<loc_1><loc_1><loc_5><loc_2><loc_5><loc_4><loc_1><loc_3>"
