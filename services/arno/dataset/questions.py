"""Turn a record into questions with their answers, which a model is trained on.

The way back from `answers`: an annotation is the answer to the question that gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from arno.dataset.answers import GRANULARITIES, KINDS
from arno.dataset.records import ImageRecord, RegionKind, RegionText
from arno.vocabulary import (
    AnswerValue,
    Box,
    DetectionAnswer,
    GroundedPhrase,
    GroundingAnswer,
    OcrAnswer,
    Region,
    SegmentationAnswer,
    Task,
    TaskSpec,
    TextAnswer,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that a record answers."""

    spec: TaskSpec
    answer: AnswerValue


def questions(record: ImageRecord, tasks: Sequence[Task] | None = None) -> Iterator[Asked]:
    """Yield the questions that a record answers, in the order of ``tasks``.

    Args:
        record: The image and its annotations.
        tasks: None are those that the annotations answer as a whole: captions, grounding of their
            phrases, detection, dense captions, words with places. Others are made of single
            regions: proposals, categories, descriptions, masks.
    """
    for task in DEFAULT_TASKS if tasks is None else tasks:
        ask = _ASKERS.get(task)
        if ask is not None:
            yield from ask(record, task)


def _captions(record: ImageRecord, task: Task) -> Iterator[Asked]:
    for text in record.texts:
        if text.granularity is GRANULARITIES[task]:
            yield Asked(TaskSpec(task), TextAnswer(text.text))


def _detection(record: ImageRecord, task: Task) -> Iterator[Asked]:
    found = tuple(
        sorted(
            (Region(one.text, Box(*one.bounds)) for one in _of_kind(record, KINDS[task])),
            key=_reading_order,
        )
    )
    if found:
        yield Asked(TaskSpec(task), DetectionAnswer(found))


def _proposals(record: ImageRecord, task: Task) -> Iterator[Asked]:
    boxes = dict.fromkeys(
        Box(*one.bounds) for one in record.regions if one.kind is not RegionKind.OCR
    )
    found = tuple(sorted((Region("", box) for box in boxes), key=_reading_order))
    if found:
        yield Asked(TaskSpec(task), DetectionAnswer(found))


def _words(record: ImageRecord, task: Task) -> Iterator[Asked]:
    found = tuple(
        Region(one.text, one.shape)
        for one in _of_kind(record, RegionKind.OCR)
        if one.quad_box is not None
    )
    if found:
        yield Asked(TaskSpec(task), OcrAnswer(found))


def _grounding(record: ImageRecord, task: Task) -> Iterator[Asked]:
    for text in record.texts:
        mine = [one for one in record.triplets if one.text_id == text.id]
        phrases: dict[str, list[Region]] = {}
        for triplet in sorted(mine, key=lambda one: (one.start, one.end)):
            words = text.text[triplet.start : triplet.end]
            phrases.setdefault(words, []).append(Region(words, Box(*triplet.bounds)))
        if phrases:
            grounded = (GroundedPhrase(words, tuple(found)) for words, found in phrases.items())
            yield Asked(TaskSpec(task, text=text.text), GroundingAnswer(tuple(grounded)))


def _open_vocabulary(record: ImageRecord, task: Task) -> Iterator[Asked]:
    phrases: dict[str, list[Region]] = {}
    for one in _of_kind(record, RegionKind.PHRASE):
        phrases.setdefault(one.text, []).append(Region(one.text, Box(*one.bounds)))
    for words, found in phrases.items():
        answer = DetectionAnswer(tuple(sorted(found, key=_reading_order)))
        yield Asked(TaskSpec(task, text=words), answer)


def _region_text(record: ImageRecord, task: Task) -> Iterator[Asked]:
    for one in _of_kind(record, KINDS[task]):
        yield Asked(TaskSpec(task, region=Box(*one.bounds)), TextAnswer(one.text))


def _masks(record: ImageRecord, task: Task) -> Iterator[Asked]:
    for one in record.regions:
        if one.polygons is not None:
            spec = TaskSpec(task, region=Box(*one.bounds))
            yield Asked(spec, SegmentationAnswer((Region("", one.shape),)))


def _of_kind(record: ImageRecord, kind: RegionKind) -> Iterable[RegionText]:
    return (one for one in record.regions if one.kind is kind)


def _reading_order(region: Region) -> tuple[float, float]:
    assert isinstance(region.shape, Box)  # noqa: S101 - only boxes are sorted
    return region.shape.x0, region.shape.y0


_ASKERS: Final[Mapping[Task, Callable[[ImageRecord, Task], Iterator[Asked]]]] = MappingProxyType(
    {
        Task.CAPTION: _captions,
        Task.DETAILED_CAPTION: _captions,
        Task.MORE_DETAILED_CAPTION: _captions,
        Task.OD: _detection,
        Task.DENSE_REGION_CAPTION: _detection,
        Task.CAPTION_TO_PHRASE_GROUNDING: _grounding,
        Task.OCR_WITH_REGION: _words,
        Task.REGION_PROPOSAL: _proposals,
        Task.OPEN_VOCABULARY_DETECTION: _open_vocabulary,
        Task.REGION_TO_CATEGORY: _region_text,
        Task.REGION_TO_DESCRIPTION: _region_text,
        Task.REGION_TO_OCR: _region_text,
        Task.REGION_TO_SEGMENTATION: _masks,
    }
)
DEFAULT_TASKS: Final = tuple(list(_ASKERS)[:7])
"""The tasks that a data set is trained on where none are named: whole annotations of the image."""
