"""Fit calibrated scores to answers whose truth is known, and say how far scores are from it.

A region counts by its overlap (IoU) with the true one of the same label, one to one, else 0. So a
calibrated score of 0.8 means that regions with this score overlap by 0.8 on average.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

import numpy as np
from sklearn.isotonic import IsotonicRegression

from arno.training.evaluation.cases import Case
from arno.training.evaluation.metrics.matching import match, same_label
from arno.training.evaluation.run import Evaluation
from arno.vocabulary import CATALOGUE, AnswerKind, Region, Task
from arno.vocabulary.calibration import Calibration, ScoreMap
from arno.vocabulary.scores import combine

_KINDS: Final = frozenset({AnswerKind.DETECTION, AnswerKind.GROUNDING, AnswerKind.OCR})
_ANY_OVERLAP: Final = 1e-9
_BIN_COUNT: Final = 10

REGIONS_MIN: Final = 100
"""A task with fewer regions is not calibrated: the map would follow their chance."""

_POINTS_MAX: Final = 12
_REGIONS_A_POINT: Final = 25
_POINT_DISTANCE: Final = 1e-3
"""Groups whose mean scores are nearer are one point, or rounding would decide its slope."""

_OWN_SHARE: Final = 0.02
"""Part of the score itself in its calibrated value: it rises where the fit is level, too."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A region's score before calibration, and its overlap with the truth, both 0..1."""

    score: float
    overlap: float


def raw_score(region: Region) -> float:
    """Return a region's score before calibration, 0..1; 0 without one."""
    return combine(region.label_score, region.location_score) or 0.0


def overlaps(found: Sequence[Region], true: Sequence[Region]) -> list[float]:
    """Return the overlap of every found region with its own true one, or 0."""
    pairs = match(found, true, may_match=same_label, overlap_min=_ANY_OVERLAP)
    by_place = {pair.found: pair.overlap for pair in pairs}
    return [by_place.get(place, 0.0) for place in range(len(found))]


def scored_regions(cases: Iterable[Case]) -> list[Scored]:
    """Return score and overlap of every region of some answers."""
    return [
        Scored(raw_score(region), overlap)
        for case in cases
        for region, overlap in zip(
            case.regions, overlaps(case.regions, case.true_regions), strict=True
        )
    ]


def calibration_error(pairs: Iterable[tuple[float, float]]) -> float:
    """Return the mean distance of score and overlap over ten bins of scores, by their sizes."""
    held = list(pairs)
    distances = (
        abs(sum(score - overlap for score, overlap in group)) for group in bins_of(held).values()
    )
    return sum(distances) / len(held) if held else 0.0


def bins_of(pairs: Iterable[tuple[float, float]]) -> Mapping[int, list[tuple[float, float]]]:
    """Return pairs of score and overlap by the tenth of scores, 0..9, that they are in."""
    bins: dict[int, list[tuple[float, float]]] = {}
    for score, overlap in pairs:
        bins.setdefault(min(int(score * _BIN_COUNT), _BIN_COUNT - 1), []).append((score, overlap))
    return dict(sorted(bins.items()))


@dataclass(frozen=True, slots=True)
class Fit:
    """The outcome of a fit for one task; `score_map` is None where there were too few regions."""

    task: Task
    region_count: int
    before: float
    after: float
    score_map: ScoreMap | None


def fit(evaluation: Evaluation) -> Iterator[Fit]:
    """Yield the fit of every task of an evaluation whose answers are labelled places."""
    for task, judged in evaluation.tasks.items():
        if CATALOGUE[task].answer_kind not in _KINDS:
            continue
        scored = scored_regions(judged.cases)
        before = calibration_error((one.score, one.overlap) for one in scored)
        if len(scored) < REGIONS_MIN:
            yield Fit(task, len(scored), before, before, None)
            continue
        score_map = fit_map(scored)
        after = calibration_error((score_map(one.score), one.overlap) for one in scored)
        yield Fit(task, len(scored), before, after, score_map)


def calibration_of(fits: Iterable[Fit]) -> Calibration:
    """Return the calibration that fits come to."""
    return Calibration({one.task: one.score_map for one in fits if one.score_map is not None})


def fit_map(scored: Sequence[Scored]) -> ScoreMap:
    """Return the rising line that is nearest to the overlaps of regions.

    Isotonic regression over groups of equal size, so that no few regions shape it; between the
    groups it is linear, from 0 at score 0 on. A small part of the score itself makes it rise where
    the regression is level.
    """
    ranked = sorted(scored, key=lambda one: one.score)
    group_count = max(1, min(_POINTS_MAX, len(ranked) // _REGIONS_A_POINT))
    groups = [
        [ranked[place] for place in places]
        for places in np.array_split(np.arange(len(ranked)), group_count)
    ]
    means = [(fmean(x.score for x in group), fmean(x.overlap for x in group)) for group in groups]
    weights = [len(group) for group in groups]
    level = IsotonicRegression(y_min=0.0, y_max=1.0).fit(*zip(*means, strict=True), weights)
    points = {0.0: 0.0}
    for score, _ in means:
        if max(points) + _POINT_DISTANCE <= score <= 1.0 - _POINT_DISTANCE:
            points[score] = float(level.predict([score])[0])
    points[1.0] = float(level.predict([means[-1][0]])[0])
    blended = {x: (1 - _OWN_SHARE) * y + _OWN_SHARE * x for x, y in points.items()}
    return ScoreMap(
        tuple(round(x, 6) for x in blended), tuple(round(y, 6) for y in blended.values())
    )
