"""Join each label with the locations that follow it.

Every answer with regions is a row of blocks, `label locations label locations ...`, and the tasks
differ only in how the locations of a block are read.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from arno.vocabulary.segments import LocationRun, Marker, Segment, TextRun
from arno.vocabulary.token_table import POLYGON_START


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
