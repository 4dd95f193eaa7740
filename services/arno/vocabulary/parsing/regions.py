"""Read regions: boxes, quad boxes of text, and outlines.

A label is followed by four locations for each of its boxes, or by eight for its quad box. Places
that are not whole are left out. So are those before the first label: the reference takes the end of
a location token for their label.

An outline is a row of locations, x and y in turn. `<sep>` parts the outlines of one region, and
`<poly>` with `</poly>` holds each region where one label has several. An odd last location is left
out, and so is an outline of fewer than three points: it has no inside.
"""

from collections.abc import Iterable, Iterator

from arno.vocabulary.locations import (
    BOX_BINS,
    POLYGON_BINS_MIN,
    QUAD_BINS,
    box_from_bins,
    polygon_from_bins,
    quad_from_bins,
)
from arno.vocabulary.parsing.blocks import NO_LABEL, Block, label_region
from arno.vocabulary.parsing.segments import LocationRun, Marker, TextRun
from arno.vocabulary.regions import ImageSize, Region
from arno.vocabulary.token_table import POLYGON_END, POLYGON_START


def read_boxes(label: TextRun, run: LocationRun, size: ImageSize) -> Iterator[Region]:
    """Yield one region for each whole box of a run of locations."""
    for number, place in enumerate(run.groups(BOX_BINS)):
        yield label_region(label, box_from_bins(place.bins, size), (place,), first=number == 0)


def read_labelled_boxes(block: Block, size: ImageSize) -> tuple[Region, ...]:
    """Return the boxes of a label. Locations behind a marker are not its own."""
    if block.label is None:
        return ()
    label = block.label
    return tuple(region for run in block.runs[:1] for region in read_boxes(label, run, size))


def read_detections(blocks: Iterable[Block], size: ImageSize) -> tuple[Region, ...]:
    """Return the boxes of every label: `car<loc_1><loc_2><loc_3><loc_4>...`."""
    return tuple(region for block in blocks for region in read_labelled_boxes(block, size))


def read_proposals(blocks: Iterable[Block], size: ImageSize) -> tuple[Region, ...]:
    """Return every box, without a label, whatever text stands around it."""
    return tuple(
        region
        for block in blocks
        for run in block.runs
        for region in read_boxes(NO_LABEL, run, size)
    )


def read_quads(blocks: Iterable[Block], size: ImageSize) -> tuple[Region, ...]:
    """Return the quad box of every text. A second one after the same text has no text: left out."""
    return tuple(
        label_region(block.label, quad_from_bins(place.bins, size), (place,))
        for block in blocks
        if block.label is not None
        for run in block.runs[:1]
        for place in tuple(run.groups(QUAD_BINS))[:1]
    )


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
