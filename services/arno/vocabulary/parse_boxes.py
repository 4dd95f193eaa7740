"""Read boxes: detections, proposals, phrases, and the quad boxes of text.

A label is followed by four locations for each of its boxes, or by eight for its quad box. Places
that are not whole are left out. So are those before the first label: the reference takes the end of
a location token for their label.
"""

from collections.abc import Iterable, Iterator

from arno.vocabulary.blocks import Block
from arno.vocabulary.labelled import NO_LABEL, label_region
from arno.vocabulary.locations import BOX_BINS, QUAD_BINS, box_from_bins, quad_from_bins
from arno.vocabulary.regions import ImageSize, Region
from arno.vocabulary.segments import LocationRun, TextRun


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
