"""Turn scores into calibrated ones: a map for each task, fitted to how right regions were.

A map is piecewise linear and rises everywhere, so it changes numbers and never an order. How maps
are fitted, and what calibrated means: docs/scores.md.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from arno.vocabulary.answers import Answer, TextAnswer
from arno.vocabulary.regions import Region
from arno.vocabulary.task import Task


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """A line through points, from score 0 to score 1, that rises everywhere.

    Attributes:
        scores: Where the points are, from 0 to 1, rising.
        values: The calibrated score at each, within 0 to 1, rising.
    """

    scores: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse lines that would change an order, or leave a score without a value.

        Raises:
            ValueError: The points are not as the attributes say.
        """
        if len(self.scores) != len(self.values) or len(self.scores) < 2:
            raise ValueError("needs as many values as scores, two or more")
        if (self.scores[0], self.scores[-1]) != (0.0, 1.0):
            raise ValueError("its scores must go from 0 to 1")
        if not (self.values[0] >= 0.0 and self.values[-1] <= 1.0):
            raise ValueError("its values must be within 0 and 1")
        # Written so that NaN is refused too.
        if not all(a < b for line in (self.scores, self.values) for a, b in pairwise(line)):
            raise ValueError("its scores and its values must rise")

    def __call__(self, score: float) -> float:
        """Return the calibrated score, 0..1, of a score, 0..1."""
        upper = min(max(bisect_right(self.scores, score), 1), len(self.scores) - 1)
        x0, x1 = self.scores[upper - 1 : upper + 1]
        y0, y1 = self.values[upper - 1 : upper + 1]
        # Rounding must not lift a score over those of the next piece.
        return min(max(y0 + (score - x0) * ((y1 - y0) / (x1 - x0)), y0), y1)


@dataclass(frozen=True, slots=True)
class Calibration:
    """The maps of a model.

    Attributes:
        maps: By task; the scores of other tasks stay as they are.
    """

    maps: Mapping[Task, ScoreMap]

    def apply(self, task: Task, answer: Answer) -> Answer:
        """Return the answer to a task with calibrated scores, where the task has a map."""
        score_map = self.maps.get(task)
        if score_map is None or isinstance(answer.value, TextAnswer):
            return answer
        return answer.with_each(lambda region: _calibrated(region, score_map))


UNCALIBRATED: Final = Calibration(MappingProxyType({}))
"""Of a model without a calibration."""


def _calibrated(region: Region, score_map: ScoreMap) -> Region:
    if region.score is None:
        return region
    return replace(region, score=score_map(region.score), calibrated=True)
