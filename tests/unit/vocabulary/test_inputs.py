"""Which inputs are refused, and what the caller is told."""

import math

import pytest
from arno.errors import InvalidFieldError
from arno.vocabulary import Box, ImageSize, Task, check_inputs

SIZE = ImageSize(width_px=100, height_px=50)
BOX = Box(0, 0, 100, 50)

NO_INPUT = (
    Task.CAPTION,
    Task.DETAILED_CAPTION,
    Task.MORE_DETAILED_CAPTION,
    Task.OCR,
    Task.OCR_WITH_REGION,
    Task.OD,
    Task.DENSE_REGION_CAPTION,
    Task.REGION_PROPOSAL,
)
REGION = (
    Task.REGION_TO_SEGMENTATION,
    Task.REGION_TO_CATEGORY,
    Task.REGION_TO_DESCRIPTION,
    Task.REGION_TO_OCR,
)
CLASSES = (Task.CAPTION_TO_PHRASE_GROUNDING, Task.OPEN_VOCABULARY_DETECTION)
TEXT = (*CLASSES, Task.REFERRING_EXPRESSION_SEGMENTATION, Task.PROMPT)


def refusal(task: Task, **inputs: object) -> InvalidFieldError:
    with pytest.raises(InvalidFieldError) as caught:
        check_inputs(task, **inputs)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("task", NO_INPUT)
def test_a_task_without_inputs_needs_none(task):
    check_inputs(task, size=SIZE)


@pytest.mark.parametrize("task", TEXT)
def test_a_text_is_taken_where_one_is_needed(task):
    check_inputs(task, text="a red < car", size=SIZE)


@pytest.mark.parametrize("task", CLASSES)
def test_classes_are_taken_instead_of_a_text(task):
    check_inputs(task, classes=("car", "traffic light"), size=SIZE)


@pytest.mark.parametrize("task", REGION)
def test_a_region_is_taken_where_one_is_needed(task):
    check_inputs(task, region=BOX, size=SIZE)


def test_a_free_prompt_may_hold_location_tokens():
    check_inputs(Task.PROMPT, text="What is <loc_1><loc_2><loc_3><loc_4>?")


@pytest.mark.parametrize("task", [*NO_INPUT, *REGION])
def test_text_is_refused_where_none_is_taken(task):
    assert refusal(task, text="car", region=BOX if task in REGION else None).field == "text"


@pytest.mark.parametrize("task", TEXT)
@pytest.mark.parametrize("text", ["", " \n\t"])
def test_missing_text_is_refused(task, text):
    error = refusal(task, text=text)
    assert error.field == "text"
    assert ("or classes" in error.problem) == (task in CLASSES)


@pytest.mark.parametrize("task", [task for task in TEXT if task is not Task.PROMPT])
def test_location_tokens_in_a_text_are_refused(task):
    assert refusal(task, text="the car at <loc_5>").field == "text"


@pytest.mark.parametrize("task", [task for task in Task if task not in CLASSES])
def test_classes_are_refused_where_none_are_taken(task):
    text = "car" if task in TEXT else ""
    region = BOX if task in REGION else None
    assert refusal(task, text=text, region=region, classes=("car",)).field == "classes"


@pytest.mark.parametrize("task", CLASSES)
def test_text_and_classes_together_are_refused(task):
    assert refusal(task, text="a car", classes=("car",)).field == "classes"


@pytest.mark.parametrize("name", ["", "  ", "car<and>dog", "<loc_5>", "a <loc_"])
def test_a_bad_class_is_named_by_its_index(name):
    assert refusal(CLASSES[0], classes=("car", name)).field == "classes[1]"


@pytest.mark.parametrize("task", REGION)
def test_a_missing_region_is_refused(task):
    assert refusal(task).field == "region"


@pytest.mark.parametrize("task", [*NO_INPUT, *TEXT])
def test_a_region_is_refused_where_none_is_taken(task):
    assert refusal(task, text="car" if task in TEXT else "", region=BOX).field == "region"


BAD_BOXES = {
    "inverted across": (Box(50, 0, 10, 50), "inverted"),
    "inverted down": (Box(0, 50, 10, 10), "inverted"),
    "no width": (Box(10, 0, 10, 50), "empty"),
    "no height": (Box(0, 10, 10, 10), "empty"),
    "not a number": (Box(0, math.nan, 10, 10), "finite"),
    "infinite": (Box(0, 0, math.inf, 10), "finite"),
    "left of the image": (Box(-1, 0, 10, 10), "inside"),
    "above the image": (Box(0, -0.1, 10, 10), "inside"),
    "right of the image": (Box(0, 0, 100.1, 10), "inside"),
    "below the image": (Box(0, 0, 10, 51), "inside"),
}


@pytest.mark.parametrize(("region", "problem"), BAD_BOXES.values(), ids=BAD_BOXES.keys())
def test_a_bad_region_is_refused_with_its_fault(region, problem):
    error = refusal(Task.REGION_TO_OCR, region=region, size=SIZE)
    assert error.field == "region"
    assert problem in error.problem


def test_a_region_may_lie_anywhere_while_the_size_is_unknown():
    check_inputs(Task.REGION_TO_OCR, region=Box(0, 0, 1e6, 1e6))


def test_a_refusal_says_what_was_allowed_and_what_was_sent():
    error = refusal(Task.REGION_TO_OCR, region=Box(0, 0, 101, 50), size=SIZE)
    assert error.metadata["limit"] == "0, 0, 100, 50"
    assert error.metadata["sent"] == "0, 0, 101, 50"


def test_a_refusal_quotes_only_the_beginning_of_a_long_text():
    assert len(refusal(Task.CAPTION, text="a" * 10_000).metadata["sent"]) < 100
