"""Compare Arno's reading of an answer with the reference's, strictly but for what is written down.

Each adjustment below is one of the differences in docs/parsing-differences.md; nothing else is
forgiven: labels, order, counts and every coordinate must agree.
"""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from arno.vocabulary import (
    CATALOGUE,
    AnswerKind,
    Box,
    Decoded,
    ImageSize,
    QuadBox,
    Region,
    Task,
    TextAnswer,
    parse,
)
from integration.vocabulary.generated import answer, cuts_freely
from integration.vocabulary.reference import Reference

# The reference computes in float32: it may fall on the other side of a whole pixel.
ROUNDING_PX = 1e-2

SIZES = (ImageSize(1000, 1000), ImageSize(640, 480), ImageSize(333, 4000), ImageSize(1, 1))


def compare_many(reference: Reference, task: Task, count: int) -> None:
    random = Random(f"{task} 2024")
    for _ in range(count):
        tokens = reference.spell(answer(task, random))
        if cuts_freely(task) and random.random() < 0.4:
            tokens = tokens[: random.randrange(2, len(tokens) + 1)]
        compare(reference, task, tokens, random.choice(SIZES))


def compare(reference: Reference, task: Task, tokens: list[int], size: ImageSize) -> None:
    theirs = reference.read(task, tokens, size)
    ours = parse(task, Decoded(tokens), reference.token_table, size)
    match CATALOGUE[task].answer_kind:
        case AnswerKind.TEXT:
            assert isinstance(ours.value, TextAnswer)
            assert ours.value.text == ours.raw_text.strip() == theirs
        case AnswerKind.OCR:
            assert [region.label for region in ours.regions] == theirs["labels"]
            _compare_coordinates(ours.regions, theirs["quad_boxes"])
        case AnswerKind.SEGMENTATION:
            _compare_outlines(ours.regions, theirs["polygons"])
        case AnswerKind.DETECTION if task is Task.OPEN_VOCABULARY_DETECTION:
            _compare_open(ours.regions, theirs)
        case _:
            pairs = list(zip(theirs["labels"], theirs["bboxes"], strict=True))
            if task is Task.CAPTION_TO_PHRASE_GROUNDING:
                first = {label: i for i, (label, _) in reversed(list(enumerate(pairs)))}
                pairs.sort(key=lambda pair: first[pair[0]])
            assert [_ascii(region.label) for region in ours.regions] == [p[0] for p in pairs]
            _compare_coordinates(ours.regions, [pair[1] for pair in pairs])


def _compare_open(regions: Sequence[Region], theirs: dict[str, Any]) -> None:
    boxes = [region for region in regions if isinstance(region.shape, Box)]
    outlined = [region for region in regions if isinstance(region.shape, tuple)]
    assert [_ascii(region.label) for region in boxes] == theirs["bboxes_labels"]
    _compare_coordinates(boxes, theirs["bboxes"])
    kept = [
        label
        for label, polygons in zip(theirs["polygons_labels"], theirs["polygons"], strict=True)
        if _with_an_inside(polygons)
    ]
    assert [region.label for region in outlined] == kept
    _compare_outlines(outlined, theirs["polygons"])


def _compare_outlines(regions: Sequence[Region], theirs: Iterable[list[list[int]]]) -> None:
    expected = [kept for polygons in theirs if (kept := _with_an_inside(polygons))]
    assert len(regions) == len(expected)
    for region, polygons in zip(regions, expected, strict=True):
        assert isinstance(region.shape, tuple)
        assert [2 * len(polygon.points) for polygon in region.shape] == [len(p) for p in polygons]
    flat = [[value for polygon in polygons for value in polygon] for polygons in expected]
    _compare_coordinates(regions, flat)


def _compare_coordinates(regions: Sequence[Region], theirs: Sequence[Sequence[int]]) -> None:
    assert len(regions) == len(theirs)
    for region, whole in zip(regions, theirs, strict=True):
        for value, truncated in zip(_coordinates(region), whole, strict=True):
            assert truncated - ROUNDING_PX <= value < truncated + 1 + ROUNDING_PX


def _coordinates(region: Region) -> list[float]:
    match region.shape:
        case Box(x0, y0, x1, y1):
            return [x0, y0, x1, y1]
        case QuadBox(points):
            return [value for point in points for value in (point.x, point.y)]
        case polygons:
            return [v for polygon in polygons for p in polygon.points for v in (p.x, p.y)]


def _with_an_inside(polygons: Iterable[list[int]]) -> list[list[int]]:
    return [polygon for polygon in polygons if len(polygon) >= 6]


def _ascii(label: str) -> str:
    return label.encode("ascii", "ignore").decode()
