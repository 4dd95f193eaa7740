"""Handle answers that a caller gives, for the model to judge instead of writing one.

They are checked here, written as the model would write them, and ranked by what it computed for
their tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from arno.errors import InvalidFieldError
from arno.vocabulary.answers import (
    Answer,
    AnswerValue,
    DetectionAnswer,
    GroundedPhrase,
    GroundingAnswer,
    OcrAnswer,
    ScoredCandidate,
    SegmentationAnswer,
)
from arno.vocabulary.catalogue import CATALOGUE, AnswerKind
from arno.vocabulary.decoded import Decoded
from arno.vocabulary.encode import encode
from arno.vocabulary.inputs import quoted
from arno.vocabulary.regions import Box, ImageSize, QuadBox, Region, Shape, corners
from arno.vocabulary.scores import log_likelihood
from arno.vocabulary.spec import Candidate, TaskSpec
from arno.vocabulary.task import Task
from arno.vocabulary.token_table import MARKERS

_SPECIALS: Final = ("<s>", "</s>", "<pad>")
_STRUCTURE: Final = (*_SPECIALS, "<loc_", *sorted(MARKERS))
_SHAPES: Final[dict[AnswerKind, tuple[type, ...]]] = {
    AnswerKind.DETECTION: (Box,),
    AnswerKind.GROUNDING: (Box,),
    AnswerKind.SEGMENTATION: (tuple,),
    AnswerKind.OCR: (QuadBox, Box),
}
_SHAPE_WORDS: Final = {Box: "boxes", QuadBox: "quad boxes", tuple: "polygons"}


def check_candidates(spec: TaskSpec) -> None:
    """Refuse candidates that are no answers to the task.

    Raises:
        InvalidFieldError: Naming the first field at fault. Not retryable.
    """
    for index, candidate in enumerate(spec.candidates):
        field = f"candidates[{index}]"
        if isinstance(candidate, str):
            _refuse_any(_SPECIALS, candidate, field)
            continue
        for place, region in enumerate(candidate):
            _check_region(spec.task, region, f"{field}.regions[{place}]")


def write_candidates(
    task: Task, candidates: Sequence[Candidate], size: ImageSize
) -> tuple[str, ...]:
    """Return candidates, which `check_candidates` accepted, as the model would write them."""
    return tuple(
        one if isinstance(one, str) else encode(_value(task, one), size) for one in candidates
    )


def rank_candidates(answers: Sequence[Answer], decoded: Sequence[Decoded]) -> Answer:
    """Return the likeliest of the candidates, with what the model thinks of each.

    Args:
        answers: The parsed candidates; at least one.
        decoded: The tokens of each, with the log-probabilities that the model gave them.
    """
    totals = [log_likelihood(one.logprobs) or 0.0 for one in decoded]
    most = max(totals)
    shares = [math.exp(total - most) for total in totals]
    scored = tuple(
        ScoredCandidate(answer, total, share / sum(shares), tuple(one.logprobs))
        for answer, one, total, share in zip(answers, decoded, totals, shares, strict=True)
    )
    return replace(answers[totals.index(most)], candidates=scored)


def _check_region(task: Task, region: Region, field: str) -> None:
    kind, shape = CATALOGUE[task].answer_kind, region.shape
    if kind is AnswerKind.TEXT:
        problem = f"{task} answers with text; give the candidate as text"
        raise InvalidFieldError(field=field, problem=problem)
    allowed = _allowed_shapes(task)
    if not isinstance(shape, allowed):
        limit = ", ".join(_SHAPE_WORDS[one] for one in allowed)
        raise InvalidFieldError(
            field=field, problem=f"{task} answers with other shapes", limit=limit
        )
    points = corners(shape)
    if not points or not all(math.isfinite(side) for p in points for side in (p.x, p.y)):
        raise InvalidFieldError(field=field, problem="every coordinate must be a finite number")
    if _labelled(task):
        if not region.label.strip():
            raise InvalidFieldError(field=f"{field}.label", problem="blank", limit="not blank")
        _refuse_any(_STRUCTURE, region.label, f"{field}.label")


def _labelled(task: Task) -> bool:
    return (
        task is not Task.REGION_PROPOSAL
        and CATALOGUE[task].answer_kind is not AnswerKind.SEGMENTATION
    )


def _allowed_shapes(task: Task) -> tuple[type, ...]:
    shapes = _SHAPES[CATALOGUE[task].answer_kind]
    return (*shapes, tuple) if task is Task.OPEN_VOCABULARY_DETECTION else shapes


def _refuse_any(tokens: Sequence[str], text: str, field: str) -> None:
    found = next((token for token in tokens if token in text), None)
    if found is not None:
        problem = f"must not hold the token {found}"
        raise InvalidFieldError(field=field, problem=problem, sent=quoted(text))


def _value(task: Task, regions: tuple[Region, ...]) -> AnswerValue:
    if not _labelled(task):
        regions = tuple(replace(region, label="") for region in regions)
    match CATALOGUE[task].answer_kind:
        case AnswerKind.GROUNDING:
            runs = groupby(regions, key=lambda region: region.label)
            return GroundingAnswer(tuple(GroundedPhrase(label, tuple(run)) for label, run in runs))
        case AnswerKind.SEGMENTATION:
            return SegmentationAnswer(regions)
        case AnswerKind.OCR:
            quads = (replace(region, shape=_quad(region.shape)) for region in regions)
            return OcrAnswer(tuple(quads))
        case _:
            return DetectionAnswer(regions)


def _quad(shape: Shape) -> Shape:
    if not isinstance(shape, Box):
        return shape
    first, second, third, fourth = corners(shape)
    return QuadBox((first, second, third, fourth))
