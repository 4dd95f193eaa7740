"""Join each label with the locations that follow it.

Every answer with regions is a row of blocks, `label locations label locations ...`, and the tasks
differ only in how the locations of a block are read. `label_region` makes the region of a label, a
shape and the locations behind it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from arno.vocabulary.parsing.segments import LocationRun, Marker, Segment, TextRun
from arno.vocabulary.regions import Region, Shape
from arno.vocabulary.scores import combine, expected_overlap, geometric_mean, log_likelihood
from arno.vocabulary.token_table import POLYGON_START

NO_LABEL: Final = TextRun("")
"""What stands for the label of a region that has none."""


@dataclass(frozen=True, slots=True)
class Block:
    """A label and all that stands between it and the next one.

    Attributes:
        label: The last text before the locations; None only for locations before any text.
        marks: The runs of locations and the markers after it.
    """

    label: TextRun | None
    marks: tuple[LocationRun | Marker, ...]

    @property
    def runs(self) -> tuple[LocationRun, ...]:
        """The runs of locations, without the markers."""
        return tuple(mark for mark in self.marks if isinstance(mark, LocationRun))

    @property
    def outlined(self) -> bool:
        """Whether a `<poly>` says that the locations are outlines."""
        return Marker(POLYGON_START) in self.marks


def split_blocks(segments: Iterable[Segment]) -> tuple[Block, ...]:
    """Return the blocks of an answer, in order. Text without locations is a block of its own."""
    blocks: list[Block] = []
    label: TextRun | None = None
    marks: list[LocationRun | Marker] = []
    for segment in segments:
        if isinstance(segment, TextRun):
            blocks.append(Block(label, tuple(marks)))
            label, marks = segment, []
        else:
            marks.append(segment)
    return (*blocks, Block(label, tuple(marks)))


def label_region(
    label: TextRun, shape: Shape, runs: Iterable[LocationRun], *, first: bool = True
) -> Region:
    """Return the region that the runs of locations describe, with its scores.

    Args:
        label: Its label.
        shape: Where it is.
        runs: The locations; none for a place that was asked about.
        first: Whether it begins with the label; further regions of a label begin with their place.
    """
    places = tuple(runs)
    bins = tuple(location_bin for run in places for location_bin in run.bins)
    logprobs = tuple(logprob for run in places for logprob in run.logprobs)
    deviations = tuple(deviation for run in places for deviation in run.deviations)
    label_score = geometric_mean(label.logprobs)
    location_score = expected_overlap(bins, deviations)
    return Region(
        label=label.text.strip(),
        shape=shape,
        bins=bins,
        label_score=label_score,
        location_score=location_score,
        score=combine(label_score, location_score),
        official_location_score=geometric_mean(logprobs),
        label_logprob=log_likelihood(label.logprobs),
        location_logprob=log_likelihood(logprobs),
        existence=_existence(label, places, first=first),
    )


def _existence(label: TextRun, places: tuple[LocationRun, ...], *, first: bool) -> float | None:
    chance = label.end_chance if first else math.nan
    if math.isnan(chance) and places:
        chance = places[0].end_chances[0]
    return None if math.isnan(chance) else 1.0 - chance
