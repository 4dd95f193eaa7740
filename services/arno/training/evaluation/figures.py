"""Compute the figures of a task from its cases.

The first figure of a task is its main one. Each case also gets a goodness, 0 to 1, by which the
worst cases are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from arno.training.evaluation.cases import Case
from arno.training.evaluation.metrics.captions import cider, object_tally, word_f1
from arno.training.evaluation.metrics.detection import SeenImage, coco_detection
from arno.training.evaluation.metrics.masks import mask_overlap, overall_iou
from arno.training.evaluation.metrics.matching import (
    IOU_MIN,
    Match,
    Tally,
    any_label,
    match,
    same_label,
    total,
)
from arno.training.evaluation.metrics.regions import (
    box_tally,
    describe,
    is_hit,
    phrase_hits,
    read_regions,
)
from arno.training.evaluation.metrics.texts import error_rate, is_right, read_text, vqa_accuracy
from arno.training.world import CATEGORIES
from arno.vocabulary import Task

Nouns: TypeAlias = Mapping[str, str]
"""Words that name an object, to the object's name: see `objects_named`."""
_WORLD: Final = "world:"


@dataclass(frozen=True, slots=True)
class TaskFigures:
    """The figures of a model at a task.

    Attributes:
        values: Figures by name, the main one first.
        goodness: Goodness of each case, in the order of the cases.
    """

    values: Mapping[str, float]
    goodness: tuple[float, ...]


def figures_of(task: Task, cases: Sequence[Case], nouns: Nouns) -> TaskFigures:
    """Return the figures of a task's cases, at least one; ``nouns`` may be empty."""
    if task in _CAPTIONS:
        return _captions(cases, nouns)
    return _MEASURES[task](cases)


def nouns_of(data: str) -> Nouns:
    """Return the words by which captions name the objects of data; only the world's are known."""
    if not any(part.strip().startswith(_WORLD) for part in data.split(";")):
        return {}
    return {
        word: category.label
        for category in CATEGORIES
        for word in (category.label, category.plural)
    }


def _detections(cases: Sequence[Case]) -> TaskFigures:
    coco = coco_detection([_seen(case) for case in cases])
    pairs = [match(case.regions, case.true_regions, may_match=same_label) for case in cases]
    together = total(_tallies(cases, pairs))
    overlaps = [pair.overlap for each in pairs for pair in each]
    return TaskFigures(
        {
            "map_50": coco.map_50,
            "map_50_95": coco.map_50_95,
            "precision_50": together.precision,
            "recall_50": together.recall,
            "mean_iou": _mean(overlaps),
        },
        _overlap_f1(cases, pairs),
    )


def _proposals(cases: Sequence[Case]) -> TaskFigures:
    coco = coco_detection([_seen(case) for case in cases], labelled=False)
    pairs = [match(case.regions, case.true_regions, may_match=any_label) for case in cases]
    return TaskFigures(
        {
            "recall_50": coco.recall_50,
            "recall_50_95": coco.recall_50_95,
            "precision_50": total(_tallies(cases, pairs)).precision,
        },
        _overlap_f1(cases, pairs),
    )


def _dense(cases: Sequence[Case]) -> TaskFigures:
    described = [describe(case.regions, case.true_regions) for case in cases]
    boxes, texts = total(one.boxes for one in described), total(one.texts for one in described)
    words = sum(one.word_f1_sum for one in described)
    return TaskFigures(
        {
            "description_f1": texts.f1,
            "box_f1": boxes.f1,
            "word_f1": words / boxes.true_count if boxes.true_count else 0.0,
        },
        tuple(_f1(one.word_f1_sum, one.boxes) for one in described),
    )


def _groundings(cases: Sequence[Case]) -> TaskFigures:
    hits = [phrase_hits(case.phrases, case.true_phrases) for case in cases]
    boxes = [box_tally(case.phrases, case.true_phrases) for case in cases]
    return TaskFigures(
        {"accuracy_50": total(hits).recall, "box_f1": total(boxes).f1},
        tuple(one.f1 for one in boxes),
    )


def _masks(cases: Sequence[Case]) -> TaskFigures:
    overlaps = [mask_overlap(case.regions, case.true_regions, case.question.size) for case in cases]
    ious = tuple(overlap.iou for overlap in overlaps)
    return TaskFigures(
        {
            "mean_iou": _mean(ious),
            "overall_iou": overall_iou(overlaps),
            "mask_accuracy_50": _mean(value >= IOU_MIN for value in ious),
            "box_accuracy_50": _mean(is_hit(case.regions, case.true_regions) for case in cases),
        },
        ious,
    )


def _read_texts(cases: Sequence[Case]) -> TaskFigures:
    read = [read_text(case.text, case.true_texts[0]) for case in cases]
    return TaskFigures(
        {
            "character_error": error_rate(read),
            "exact": _mean(one.edit_count == 0 for one in read),
        },
        tuple(max(0.0, 1 - one.error_rate) for one in read),
    )


def _read_places(cases: Sequence[Case]) -> TaskFigures:
    tallies = [read_regions(case.regions, case.true_regions, case.question.size) for case in cases]
    together = total(tallies)
    return TaskFigures(
        {"f1": together.f1, "precision": together.precision, "recall": together.recall},
        tuple(one.f1 for one in tallies),
    )


def _captions(cases: Sequence[Case], nouns: Nouns) -> TaskFigures:
    said, references = [case.text for case in cases], [case.true_texts for case in cases]
    values = {"cider": _mean(cider(said, references))}
    if nouns:
        tallies = [
            object_tally(one, texts[0], nouns) for one, texts in zip(said, references, strict=True)
        ]
        # First: where the truth is exact, the objects matter more than the wording.
        values = {"object_f1": total(tallies).f1, **values}
    values["exact"] = _mean(
        is_right(one, texts) for one, texts in zip(said, references, strict=True)
    )
    return TaskFigures(
        values,
        tuple(
            max(word_f1(one, text) for text in texts)
            for one, texts in zip(said, references, strict=True)
        ),
    )


def _categories(cases: Sequence[Case]) -> TaskFigures:
    right = tuple(float(is_right(case.text, case.true_texts)) for case in cases)
    return TaskFigures({"accuracy": _mean(right)}, right)


def _inquiries(cases: Sequence[Case]) -> TaskFigures:
    right = tuple(vqa_accuracy(case.text, case.true_texts) for case in cases)
    return TaskFigures({"vqa_accuracy": _mean(right)}, right)


_CAPTIONS: Final = frozenset(
    {
        Task.CAPTION,
        Task.DETAILED_CAPTION,
        Task.MORE_DETAILED_CAPTION,
        Task.REGION_TO_DESCRIPTION,
    }
)
_MEASURES: Final[Mapping[Task, Callable[[Sequence[Case]], TaskFigures]]] = MappingProxyType(
    {
        Task.OD: _detections,
        Task.OPEN_VOCABULARY_DETECTION: _detections,
        Task.REGION_PROPOSAL: _proposals,
        Task.DENSE_REGION_CAPTION: _dense,
        Task.CAPTION_TO_PHRASE_GROUNDING: _groundings,
        Task.REFERRING_EXPRESSION_SEGMENTATION: _masks,
        Task.REGION_TO_SEGMENTATION: _masks,
        Task.OCR: _read_texts,
        Task.REGION_TO_OCR: _read_texts,
        Task.OCR_WITH_REGION: _read_places,
        Task.REGION_TO_CATEGORY: _categories,
        Task.PROMPT: _inquiries,
    }
)


def _seen(case: Case) -> SeenImage:
    question = case.question
    return SeenImage(question.size, case.true_regions, case.regions, question.ignored)


def _tallies(cases: Sequence[Case], pairs: Sequence[Sequence[Match]]) -> Iterable[Tally]:
    for case, each in zip(cases, pairs, strict=True):
        yield Tally(len(case.regions), len(case.true_regions), len(each))


def _overlap_f1(cases: Sequence[Case], pairs: Sequence[Sequence[Match]]) -> tuple[float, ...]:
    """Return F1 with each pair counted by its overlap: of two without a miss, the tighter wins."""
    return tuple(
        _f1(
            sum(pair.overlap for pair in each),
            Tally(len(case.regions), len(case.true_regions), len(each)),
        )
        for case, each in zip(cases, pairs, strict=True)
    )


def _f1(right: float, tally: Tally) -> float:
    """Return F1 where a pair may count for less than one."""
    count = tally.found_count + tally.true_count
    return 2 * right / count if count else 1.0


def _mean(values: Iterable[float]) -> float:
    """Return the mean; of nothing, 0."""
    found = list(values)
    return sum(found) / len(found) if found else 0.0
