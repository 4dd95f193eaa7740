"""Texts of chats become tasks."""

from __future__ import annotations

import pytest
from arno.errors import InvalidFieldError, InvalidImageError
from arno.vocabulary import Box
from arno.vocabulary.spec import TaskSpec as Spec
from arno.web.chat_prompt import task_of_prompt
from support.images import png, rotated_jpeg

IMAGE = png(1000, 500)


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("<OD>", Spec("OD")),
        (" <OD>\n", Spec("OD")),
        ("<CAPTION_TO_PHRASE_GROUNDING> a cat", Spec("CAPTION_TO_PHRASE_GROUNDING", "a cat")),
        ("<OD>{}", Spec("OD")),
        ('<OD> {"minScore": 0.5}', Spec("OD", min_score=0.5)),
        ('<OD> {"options": {"numBeams": 1}}', Spec("OD", num_beams=1)),
        ('<REGION_TO_OCR> {"region": [1, 2, 3, 4]}', Spec("REGION_TO_OCR", region=Box(1, 2, 3, 4))),
        ("/detect", Spec("OD")),
        ("/detect a red cup", Spec("OPEN_VOCABULARY_DETECTION", "a red cup")),
        ("/detect cat, dog", Spec("OPEN_VOCABULARY_DETECTION", classes=["cat", "dog"])),
        ('/detect {"classes": ["cat"]}', Spec("OPEN_VOCABULARY_DETECTION", classes=["cat"])),
        ("/caption", Spec("CAPTION")),
        ("/segment the cat", Spec("REFERRING_EXPRESSION_SEGMENTATION", "the cat")),
        (
            '/segment {"region": [1, 2, 3, 4]}',
            Spec("REGION_TO_SEGMENTATION", region=Box(1, 2, 3, 4)),
        ),
        ("/ocr", Spec("OCR_WITH_REGION")),
        ("/region_proposal", Spec("REGION_PROPOSAL")),
        ("How many cats?", Spec("PROMPT", "How many cats?")),
        ("a <b>bold</b> question", Spec("PROMPT", "a <b>bold</b> question")),
    ],
)
def test_text_is_read_as_a_task(text, task):
    assert task_of_prompt(text, IMAGE) == task


def test_region_in_bins_is_the_box_in_pixels_of_the_image_as_shown():
    tokens = "<loc_0><loc_0><loc_499><loc_999>"
    asked = task_of_prompt(f"<REGION_TO_CATEGORY>{tokens}", IMAGE)
    assert asked.region == Box(0.5, 0.25, 499.5, 499.75)
    turned = task_of_prompt(f"<REGION_TO_CATEGORY>{tokens}", rotated_jpeg())
    assert turned.region is not None
    assert turned.region.y1 == pytest.approx(64, abs=0.1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no text"),
        ("<ODD>", "did you mean OD?"),
        ("/detekt", "unknown command; allowed: /caption"),
        ("/ground", "/ground needs text"),
        ("/classify a cat", "/classify needs a region"),
        ("/detect {classes", "not JSON"),
        ('/detect {"task": "OCR"}', "an object of its other fields"),
        ('/detect {"colour": 1}', 'no field named "colour"'),
        ("<REGION_TO_OCR><loc_1><loc_2>", "a region is a box; allowed: 4 location tokens"),
    ],
)
def test_text_that_makes_no_sense_is_refused(text, said):
    with pytest.raises(InvalidFieldError) as caught:
        task_of_prompt(text, IMAGE)
    assert said in caught.value.message


def test_bins_of_what_is_no_image_are_refused():
    with pytest.raises(InvalidImageError):
        task_of_prompt("<REGION_TO_OCR><loc_1><loc_2><loc_3><loc_4>", b"no image")
