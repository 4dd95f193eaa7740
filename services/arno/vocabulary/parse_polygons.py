"""Read outlines: masks, and the detections that come as outlines.

An outline is a row of locations, x and y in turn. `<sep>` parts the outlines of one region, and
`<poly>` with `</poly>` holds each region where one label has several. An odd last location is left
out, and so is an outline of fewer than three points: it has no inside.
"""

from collections.abc import Iterable, Iterator

from arno.vocabulary.blocks import Block
from arno.vocabulary.labelled import NO_LABEL, label_region
from arno.vocabulary.locations import POLYGON_BINS_MIN, polygon_from_bins
from arno.vocabulary.parse_boxes import read_labelled_boxes
from arno.vocabulary.regions import ImageSize, Region
from arno.vocabulary.segments import LocationRun, Marker, TextRun
from arno.vocabulary.token_table import POLYGON_END, POLYGON_START


def read_masks(blocks: Iterable[Block], size: ImageSize) -> tuple[Region, ...]:
    """Return every outlined region, without a label, whatever text stands around it."""
    return tuple(region for block in blocks for region in read_outlines(NO_LABEL, block, size))


def read_open_detections(blocks: Iterable[Block], size: ImageSize) -> tuple[Region, ...]:
    """Return what each label has: outlines where there is a `<poly>`, else boxes."""
    return tuple(region for block in blocks for region in _read_open_block(block, size))


def read_outlines(label: TextRun, block: Block, size: ImageSize) -> Iterator[Region]:
    """Yield one region for each group of outlines in a block."""
    first = True
    for group in _groups(block):
        runs = [_whole_points(run) for run in group]
        outlines = [run for run in runs if len(run.bins) >= POLYGON_BINS_MIN]
        if outlines:
            shape = tuple(polygon_from_bins(run.bins, size) for run in outlines)
            yield label_region(label, shape, outlines, first=first)
            first = False


def _read_open_block(block: Block, size: ImageSize) -> Iterable[Region]:
    if block.label is not None and block.outlined:
        return read_outlines(block.label, block, size)
    return read_labelled_boxes(block, size)


def _groups(block: Block) -> Iterator[list[LocationRun]]:
    """Yield the runs that belong to one region. With `<poly>` in the block, only what is inside."""
    group: list[LocationRun] = []
    outside_counts = not block.outlined
    inside = outside_counts
    opened: Marker | None = None
    for mark in block.marks:
        match mark:
            case LocationRun():
                if inside:
                    group.append(mark.begun_by(opened) if opened and not group else mark)
            case Marker(name) if name in {POLYGON_START, POLYGON_END}:
                yield group
                group = []
                inside = name == POLYGON_START or outside_counts
                opened = mark if name == POLYGON_START else None
    yield group


def _whole_points(run: LocationRun) -> LocationRun:
    return run.cut(0, len(run.bins) // 2 * 2)
