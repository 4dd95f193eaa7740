"""Which answer becomes which annotation, and which annotation answers which question."""

from __future__ import annotations

import pytest
from arno.dataset import Granularity, RegionKind
from arno.dataset.answers import ANNOTATING, Annotations
from arno.dataset.questions import questions
from arno.errors import InvalidFieldError
from arno.training.data.world import samples
from arno.training.world import Split
from arno.vocabulary import (
    Box,
    DetectionAnswer,
    GroundedPhrase,
    GroundingAnswer,
    Point,
    Polygon,
    Region,
    SegmentationAnswer,
    Task,
    TaskSpec,
    TextAnswer,
)
from support.annotated import CAPTION, record, said

BOX = Box(1.0, 2.0, 30.0, 40.0)


def added(*asked) -> Annotations:
    annotations = Annotations()
    for spec, value in asked:
        annotations.add(spec, value, said(task=str(spec.task)))
    return annotations


def test_world_answers_come_back_from_their_annotations():
    """Whatever a task says about a scene is the answer to the same question afterwards."""
    come_back = 0
    for number in range(12):
        for sample in samples(Split.TEST, number):
            if sample.spec.task not in ANNOTATING:
                continue
            made = added((sample.spec, sample.answer))
            parts = record(width_px=sample.size.width_px, **made.parts())
            asked = list(questions(parts, [sample.spec.task]))
            named = sample.spec.text or sample.spec.region
            whole = sample.spec.task in {Task.OD, Task.OCR_WITH_REGION, Task.DENSE_REGION_CAPTION}
            if whole or sample.spec.task.endswith("CAPTION"):
                assert [one.answer for one in asked] == [sample.answer]
                come_back += 1
            elif sample.spec.task is Task.CAPTION_TO_PHRASE_GROUNDING and sample.spec.text:
                assert [(one.spec, one.answer) for one in asked] == [(sample.spec, sample.answer)]
                come_back += 1
            elif sample.spec.task in {Task.REGION_TO_CATEGORY, Task.REGION_TO_DESCRIPTION}:
                assert [(one.spec, one.answer) for one in asked] == [(sample.spec, sample.answer)]
                assert named
                come_back += 1
    assert come_back > 60


def test_caption_and_its_grounding_share_the_text():
    made = added(
        (TaskSpec(Task.CAPTION), TextAnswer(CAPTION)),
        (
            TaskSpec(Task.CAPTION_TO_PHRASE_GROUNDING, text=CAPTION),
            GroundingAnswer(
                (
                    GroundedPhrase("two cats", (Region("two cats", BOX), Region("", BOX))),
                    GroundedPhrase("a red car", (Region("a red car", BOX),)),
                    GroundedPhrase("a dog", (Region("a dog", BOX),)),
                )
            ),
        ),
    )
    kept = record(**made.parts())
    assert [one.text for one in kept.texts] == [CAPTION]
    assert [kept.phrase(one) for one in kept.triplets] == ["two cats", "two cats", "A red car"]
    assert made.left_out == {"phrase not in the text": 1}


def test_phrase_that_is_said_twice_has_two_spans():
    words = "a cat and a cat"
    phrases = (GroundedPhrase("a cat", (Region("", BOX),)),) * 2
    spec = TaskSpec(Task.CAPTION_TO_PHRASE_GROUNDING, text=words)
    made = added((spec, GroundingAnswer(phrases)))
    assert [(one.start, one.end) for one in made.triplets] == [(0, 5), (10, 15)]


def test_scores_of_regions_are_kept():
    region = Region("car", BOX, score=0.125, calibrated=True)
    made = added((TaskSpec(Task.OD), DetectionAnswer((region,))))
    assert made.regions[0].provenance.score == 0.125
    assert made.regions[0].provenance.calibrated


def test_classes_are_categories_and_a_phrase_is_a_phrase():
    detection = DetectionAnswer((Region("car", BOX),))
    asked = TaskSpec(Task.OPEN_VOCABULARY_DETECTION, classes=("car",))
    assert added((asked, detection)).regions[0].kind is RegionKind.CATEGORY
    asked = TaskSpec(Task.OPEN_VOCABULARY_DETECTION, text="car")
    assert added((asked, detection)).regions[0].kind is RegionKind.PHRASE


def test_mask_of_a_phrase_is_named_by_the_phrase():
    outline = (Polygon((Point(0.0, 0.0), Point(8.0, 0.0), Point(8.0, 8.0))),)
    spec = TaskSpec(Task.REFERRING_EXPRESSION_SEGMENTATION, text="the red car")
    made = added((spec, SegmentationAnswer((Region("", outline),))))
    assert made.regions[0].text == "the red car"
    assert made.regions[0].shape == outline


def test_blank_and_shapeless_findings_are_counted_and_left_out():
    regions = (Region(" ", BOX), Region("car", ()), Region("car", Box(0, 0, float("nan"), 1)))
    made = added(
        (TaskSpec(Task.CAPTION), TextAnswer("  ")), (TaskSpec(Task.OD), DetectionAnswer(regions))
    )
    assert made.regions == []
    assert made.left_out == {"empty text": 2, "not a shape": 2}


@pytest.mark.parametrize("task", [Task.PROMPT, Task.OCR])
def test_answer_that_is_no_annotation_is_refused(task):
    with pytest.raises(InvalidFieldError, match="no annotations"):
        added((TaskSpec(task, text="x"), TextAnswer("yes")))


def test_equal_texts_of_two_annotators_are_two_and_of_one_are_one():
    annotations = Annotations()
    for name in ("one", "two", "one"):
        annotations.add(TaskSpec(Task.CAPTION), TextAnswer(CAPTION), said(name))
    assert [one.provenance.annotator for one in annotations.texts] == ["one", "two"]
    assert {one.granularity for one in annotations.texts} == {Granularity.BRIEF}
