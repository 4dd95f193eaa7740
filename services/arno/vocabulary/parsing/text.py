"""Read text, and the regions that may be in it.

Stands alone: one form of answer a file, and parse.py only chooses among them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from arno.vocabulary.answers import TextAnswer
from arno.vocabulary.locations import shape_bins
from arno.vocabulary.parsing.blocks import NO_LABEL, Block, label_region
from arno.vocabulary.parsing.regions import read_boxes, read_outlines
from arno.vocabulary.parsing.segments import LocationRun, Segment, TextRun
from arno.vocabulary.regions import Box, ImageSize, Region


def read_text(segments: Iterable[Segment]) -> str:
    """Return the words without the locations, stripped. Markers stay, as in the reference.

    Words that only locations kept apart stay apart: `car<loc_1>door` reads `car door`.
    """
    parts: list[str] = []
    apart = False
    for segment in segments:
        if isinstance(segment, LocationRun):
            apart = bool(parts)
            continue
        words = segment.text if isinstance(segment, TextRun) else segment.name
        if apart and parts[-1][-1:].isalnum() and words[:1].isalnum():
            parts.append(" ")
        parts.append(words)
        apart = False
    return "".join(parts).strip()


def read_about(segments: Sequence[Segment], asked: Box, size: ImageSize) -> TextAnswer:
    """Return what was said about the region that was asked about, and that region with it.

    Only the words have a score: the place was not the model's.
    """
    text = read_text(segments)
    words = [segment for segment in segments if isinstance(segment, TextRun)]
    label = TextRun(text, tuple(logprob for run in words for logprob in run.logprobs))
    region = replace(label_region(label, asked, ()), bins=shape_bins(asked, size))
    return TextAnswer(text, (region,))


def read_any_regions(blocks: Iterable[Block], size: ImageSize) -> tuple[Region, ...]:
    """Return every region in an answer of unknown form: outlines after `<poly>`, else boxes."""
    return tuple(region for block in blocks for region in _read_any_block(block, size))


def _read_any_block(block: Block, size: ImageSize) -> Iterator[Region]:
    label = block.label or NO_LABEL
    if block.outlined:
        yield from read_outlines(label, block, size)
        return
    for run in block.runs:
        yield from read_boxes(label, run, size)
