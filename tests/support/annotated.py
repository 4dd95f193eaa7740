"""Records of data sets for tests."""

from __future__ import annotations

from typing import Any

from arno.dataset import (
    Granularity,
    ImageRecord,
    Provenance,
    RegionKind,
    RegionText,
    Text,
    Triplet,
)

CAPTION = "A red car next to two cats."


def said(annotator: str = "one", **facts: Any) -> Provenance:
    """A provenance."""
    return Provenance(annotator=annotator, **facts)


def region(label: str, *box: float, kind: RegionKind = RegionKind.CATEGORY, **facts: Any):
    """A region with a box; facts are those of the provenance."""
    sides = box or (10.0, 10.0, 50.0, 40.0)
    return RegionText(box=sides, kind=kind, text=label, provenance=said(**facts))


def text(words: str, name: str = "t0", granularity: Granularity = Granularity.BRIEF, **facts: Any):
    """A text; facts are those of the provenance."""
    return Text(id=name, granularity=granularity, text=words, provenance=said(**facts))


def triplet(start: int, end: int, *box: float, text_id: str = "t0", **facts: Any):
    """A triplet with a box."""
    sides = box or (10.0, 10.0, 50.0, 40.0)
    return Triplet(box=sides, text_id=text_id, start=start, end=end, provenance=said(**facts))


def record(position: int = 0, **parts: Any) -> ImageRecord:
    """A record of an image of 200 x 100 pixels."""
    facts = {
        "image_id": f"image-{position}",
        "file": f"{position}.png",
        "width_px": 200,
        "height_px": 100,
        "position": position,
    }
    return ImageRecord(**{**facts, **parts})


def full_record(position: int = 0) -> ImageRecord:
    """A record with every kind of annotation and of place."""
    return record(
        position,
        sha256="ab" * 32,
        texts=(text(CAPTION, score=0.75, model="f00d", round=2, merged=("a", "b")),),
        regions=(
            region("car", 1.5, 2.25, 30.0, 40.0, score=1 / 3, calibrated=True, agreement=0.5),
            region("", 1.0, 2.0, 3.0, 4.0, kind=RegionKind.PROPOSAL),
            RegionText(
                quad_box=(1.0, 1.0, 9.0, 1.0, 9.0, 5.0, 1.0, 5.0),
                kind=RegionKind.OCR,
                text="STOP",
                provenance=said(),
            ),
            RegionText(
                polygons=((0.0, 0.0, 8.0, 0.0, 8.0, 8.0), (20.0, 20.0, 30.0, 20.0, 30.0, 28.0)),
                kind=RegionKind.PHRASE,
                text="a red car",
                provenance=said(),
            ),
        ),
        triplets=(triplet(0, 9), triplet(18, 26, 60.0, 10.0, 90.0, 40.0)),
    )
