"""Prompts are the training prompts, to the letter."""

import pytest
from arno.vocabulary import CATALOGUE, Box, ImageSize, Task, build_prompt
from arno.vocabulary.prompts import parse_prompt
from hypothesis import given
from hypothesis import strategies as st
from unit.vocabulary.spelling import quick

SIZE = ImageSize(width_px=800, height_px=600)
BOX = Box(80, 60, 800, 599.9)

PROMPTS = {
    Task.CAPTION: "What does the image describe?",
    Task.DETAILED_CAPTION: "Describe in detail what is shown in the image.",
    Task.MORE_DETAILED_CAPTION: "Describe with a paragraph what is shown in the image.",
    Task.OCR: "What is the text in the image?",
    Task.OCR_WITH_REGION: "What is the text in the image, with regions?",
    Task.OD: "Locate the objects with category name in the image.",
    Task.DENSE_REGION_CAPTION: "Locate the objects in the image, with their descriptions.",
    Task.REGION_PROPOSAL: "Locate the region proposals in the image.",
    Task.CAPTION_TO_PHRASE_GROUNDING: "Locate the phrases in the caption: a red car",
    Task.REFERRING_EXPRESSION_SEGMENTATION: "Locate a red car in the image with mask",
    Task.REGION_TO_SEGMENTATION: (
        "What is the polygon mask of region <loc_100><loc_100><loc_999><loc_999>"
    ),
    Task.OPEN_VOCABULARY_DETECTION: "Locate a red car in the image.",
    Task.REGION_TO_CATEGORY: "What is the region <loc_100><loc_100><loc_999><loc_999>?",
    Task.REGION_TO_DESCRIPTION: (
        "What does the region <loc_100><loc_100><loc_999><loc_999> describe?"
    ),
    Task.REGION_TO_OCR: "What text is in the region <loc_100><loc_100><loc_999><loc_999>?",
    Task.PROMPT: " a red car ",
}


@pytest.mark.parametrize("task", Task)
def test_each_task_sends_its_training_prompt(task):
    prompt = build_prompt(task, text=" a red car ", region=BOX, size=SIZE)
    assert prompt == PROMPTS[task]


def test_classes_are_joined_by_the_token_that_the_model_knows():
    prompt = build_prompt(
        Task.OPEN_VOCABULARY_DETECTION, classes=["car", " traffic light "], size=SIZE
    )
    assert prompt == "Locate car<and>traffic light in the image."


@quick
@given(text=st.text(min_size=1))
def test_a_free_prompt_is_sent_as_it_is(text):
    assert build_prompt(Task.PROMPT, text=text, size=SIZE) == text


def test_braces_in_the_text_are_only_text():
    prompt = build_prompt(Task.REFERRING_EXPRESSION_SEGMENTATION, text="{input} {0}", size=SIZE)
    assert prompt == "Locate {input} {0} in the image with mask"


def test_a_region_task_cannot_be_asked_without_a_region():
    with pytest.raises(ValueError, match="asks about a region"):
        build_prompt(Task.REGION_TO_OCR, size=SIZE)


@pytest.mark.parametrize("task", [task for task in Task if task is not Task.PROMPT])
def test_prompt_tells_its_task_and_the_input_in_it(task):
    prompt = build_prompt(task, text="a red car", region=BOX, size=SIZE)
    found, given = parse_prompt(prompt)
    assert found is task
    assert (
        build_prompt(Task.PROMPT, text=CATALOGUE[task].prompt.format(input=given), size=SIZE)
        == prompt
    )


def test_prompt_of_no_task_is_its_own_input():
    assert parse_prompt("How many cars are there?") == (None, "How many cars are there?")
