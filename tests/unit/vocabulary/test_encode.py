"""What is written for training is read back the same."""

import pytest
from arno.vocabulary import (
    AnswerValue,
    Box,
    DetectionAnswer,
    GroundedPhrase,
    GroundingAnswer,
    ImageSize,
    OcrAnswer,
    Point,
    Polygon,
    QuadBox,
    Region,
    SegmentationAnswer,
    Shape,
    Task,
    TextAnswer,
    encode,
    parse,
)
from arno.vocabulary.parsing.phrases import EMPTY_PHRASES
from arno.vocabulary.regions import corners
from hypothesis import given
from hypothesis import strategies as st
from unit.vocabulary.spelling import VOCABULARY, quick, said

SIZE = ImageSize(width_px=1920, height_px=1080)

xs = st.floats(0, SIZE.width_px)
ys = st.floats(0, SIZE.height_px)
points = st.builds(Point, xs, ys)
boxes = st.builds(Box, xs, ys, xs, ys)
quads = st.builds(QuadBox, st.tuples(points, points, points, points))
polygons = st.builds(Polygon, st.lists(points, min_size=3, max_size=6).map(tuple))
outlines = st.lists(polygons, min_size=1, max_size=3).map(tuple)

# A label keeps its spaces inside, never around; the brackets of markup are tested apart.
labels = (
    st.text(
        st.characters(exclude_characters="<>", exclude_categories=["Cs"]), min_size=1, max_size=12
    )
    .map(str.strip)
    .filter(bool)
)


def regions_of(
    shapes: st.SearchStrategy[Shape], names: st.SearchStrategy[str]
) -> st.SearchStrategy[tuple[Region, ...]]:
    return st.lists(st.builds(Region, names, shapes), max_size=4).map(tuple)


def read_back(task: Task, value: AnswerValue) -> AnswerValue:
    return parse(task, said(f"<s>{encode(value, SIZE)}</s>"), VOCABULARY, SIZE).value


def assert_near(one: tuple[Region, ...], other: tuple[Region, ...]) -> None:
    assert [region.label for region in one] == [region.label for region in other]
    for mine, yours in zip(one, other, strict=True):
        assert type(mine.shape) is type(yours.shape)
        for a, b in zip(corners(mine.shape), corners(yours.shape), strict=True):
            assert abs(a.x - b.x) <= SIZE.width_px / 2000 * (1 + 1e-9)
            assert abs(a.y - b.y) <= SIZE.height_px / 2000 * (1 + 1e-9)


def outline_lengths(regions: tuple[Region, ...]) -> list[list[int]]:
    return [
        [len(polygon.points) for polygon in region.shape]
        for region in regions
        if isinstance(region.shape, tuple)
    ]


@pytest.mark.parametrize("task", [Task.OD, Task.DENSE_REGION_CAPTION])
@quick
@given(regions=regions_of(boxes, labels))
def test_detections_come_back_within_half_a_bin(task, regions):
    value = read_back(task, DetectionAnswer(regions))
    assert isinstance(value, DetectionAnswer)
    assert_near(value.regions, regions)


@quick
@given(regions=regions_of(st.one_of(boxes, outlines), labels))
def test_open_detections_come_back_as_boxes_and_outlines(regions):
    value = read_back(Task.OPEN_VOCABULARY_DETECTION, DetectionAnswer(regions))
    assert isinstance(value, DetectionAnswer)
    assert_near(value.regions, regions)


@quick
@given(regions=regions_of(boxes, st.just("")))
def test_proposals_come_back_without_labels(regions):
    value = read_back(Task.REGION_PROPOSAL, DetectionAnswer(regions))
    assert isinstance(value, DetectionAnswer)
    assert_near(value.regions, regions)


@quick
@given(regions=regions_of(quads, labels))
def test_quad_boxes_come_back_with_their_text(regions):
    value = read_back(Task.OCR_WITH_REGION, OcrAnswer(regions))
    assert isinstance(value, OcrAnswer)
    assert_near(value.regions, regions)


@pytest.mark.parametrize(
    "task", [Task.REFERRING_EXPRESSION_SEGMENTATION, Task.REGION_TO_SEGMENTATION]
)
@quick
@given(regions=regions_of(outlines, st.just("")))
def test_masks_come_back_with_all_their_outlines(task, regions):
    value = read_back(task, SegmentationAnswer(regions))
    assert isinstance(value, SegmentationAnswer)
    assert_near(value.regions, regions)
    assert outline_lengths(value.regions) == outline_lengths(regions)


@quick
@given(
    phrases=st.dictionaries(
        labels.filter(lambda label: label not in EMPTY_PHRASES),
        st.lists(boxes, min_size=1, max_size=3),
        max_size=4,
    )
)
def test_phrases_come_back_with_all_their_boxes(phrases):
    value = GroundingAnswer(
        tuple(
            GroundedPhrase(phrase, tuple(Region(phrase, box) for box in places))
            for phrase, places in phrases.items()
        )
    )
    back = read_back(Task.CAPTION_TO_PHRASE_GROUNDING, value)
    assert isinstance(back, GroundingAnswer)
    assert [phrase.phrase for phrase in back.phrases] == list(phrases)
    for mine, yours in zip(back.phrases, value.phrases, strict=True):
        assert_near(mine.regions, yours.regions)


@pytest.mark.parametrize("task", [Task.CAPTION, Task.OCR, Task.PROMPT, Task.REGION_TO_CATEGORY])
@quick
@given(text=labels)
def test_text_comes_back_as_it_is(task, text):
    assert read_back(task, TextAnswer(text)) == TextAnswer(text)


def test_one_mask_is_written_without_a_fence_and_several_with():
    mask = Region("", (Polygon((Point(0, 0), Point(1919, 0), Point(0, 1079))),))
    outline = "<loc_0><loc_0><loc_999><loc_0><loc_0><loc_999>"
    assert encode(SegmentationAnswer((mask,)), SIZE) == outline
    assert encode(SegmentationAnswer((mask, mask)), SIZE) == f"<poly>{outline}</poly>" * 2


@pytest.mark.parametrize("label", ["<loc_5>", "a <poly> b", "</od>", "x<sep>"])
def test_a_label_with_markup_is_refused_in_training_data(label):
    region = Region(label, Box(0, 0, 1, 1))
    phrase = GroundedPhrase(label, (region,))
    for value in (DetectionAnswer((region,)), GroundingAnswer((phrase,))):
        with pytest.raises(ValueError, match="must not hold"):
            encode(value, SIZE)


def test_a_label_with_a_less_than_sign_is_only_text():
    region = Region("a < b", Box(0, 0, 1920, 1080))
    assert encode(DetectionAnswer((region,)), SIZE) == "a < b<loc_0><loc_0><loc_999><loc_999>"
