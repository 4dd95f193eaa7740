"""Make a region of a label, a shape and the locations behind it."""

from collections.abc import Iterable
from typing import Final

from arno.vocabulary.regions import Region, Shape
from arno.vocabulary.scores import score_region
from arno.vocabulary.segments import LocationRun, TextRun

NO_LABEL: Final = TextRun("")
"""What stands for the label of a region that has none."""


def label_region(label: TextRun, shape: Shape, runs: Iterable[LocationRun]) -> Region:
    """Return the region that the runs of locations describe, with its scores."""
    places = tuple(runs)
    scores = score_region(
        label.logprobs, tuple(logprob for run in places for logprob in run.logprobs)
    )
    return Region(
        label=label.text.strip(),
        shape=shape,
        bins=tuple(location_bin for run in places for location_bin in run.bins),
        label_score=scores.label,
        location_score=scores.location,
        score=scores.combined,
    )
