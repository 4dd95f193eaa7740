"""What the answers of one task give to the task that follows it."""

from __future__ import annotations

import pytest
from arno.errors import InputUnavailableError
from arno.vocabulary import Answer, Box, ImageSize, Task, TaskSpec
from arno.vocabulary.answers import DetectionAnswer, TextAnswer
from arno.vocabulary.cascade import FAN_OUT_DEFAULT, with_inputs
from support.builders import box
from support.judging import answered

SIZE = ImageSize(100, 50)


def regions(*found) -> Answer:
    return answered(DetectionAnswer(tuple(found)))


def text(words: str) -> Answer:
    return answered(TextAnswer(words))


def test_a_task_that_follows_none_keeps_its_own_input():
    spec = TaskSpec(Task.PROMPT, text="why?", id="a")
    assert with_inputs(spec, (), SIZE) == (spec,)


def test_regions_are_followed_by_score_cut_to_the_image_and_counted():
    spec = TaskSpec(Task.REGION_TO_OCR, id="r", input_from="o", fan_out_max=2)
    found = regions(
        box("low", 1, 1, 9, 9, score=0.1),
        box("outside", 200, 0, 210, 9, score=0.99),
        box("cut", 90, 40, 120, 60, score=0.9),
        box("middle", 2, 2, 8, 8, score=0.5),
    )
    first, second = with_inputs(spec, [found], SIZE)
    assert (first.id, first.region) == ("r.0", Box(90, 40, 100, 50))
    assert (second.id, second.region) == ("r.1", Box(2, 2, 8, 8))


def test_without_a_limit_of_its_own_a_task_follows_the_default_number():
    spec = TaskSpec(Task.REGION_TO_OCR, id="r", input_from="o")
    found = regions(*[box("x", 0, 0, n + 1, 9) for n in range(FAN_OUT_DEFAULT + 1)])
    assert len(with_inputs(spec, [found], SIZE)) == FAN_OUT_DEFAULT


def test_one_text_keeps_the_id_and_several_get_numbers():
    spec = TaskSpec(Task.PROMPT, id="p", input_from="c")
    [alone] = with_inputs(spec, [text("a cat")], SIZE)
    assert (alone.id, alone.text) == ("p", "a cat")
    several = with_inputs(spec, [text("a cat"), text(" "), text("a dog")], SIZE)
    assert [(one.id, one.text) for one in several] == [("p.0", "a cat"), ("p.1", "a dog")]


@pytest.mark.parametrize("answers", [[], [text(" ")]])
def test_answers_that_hold_nothing_to_follow_are_said_so(answers):
    spec = TaskSpec(Task.PROMPT, id="p", input_from="c")
    with pytest.raises(InputUnavailableError, match="'c'"):
        with_inputs(spec, answers, SIZE)
