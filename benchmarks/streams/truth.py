"""Compare boxes and tracks with the truth of a rendered scene."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from arno.client.drawing import colour_of
from arno.vocabulary import Box
from PIL import Image

from benchmarks.streams.scenes import Film

_LIKE: Final = 90
"""Difference of a pixel to a colour, summed over the channels, within which it has that colour."""

_EDGE_SHARE: Final = 0.5
"""Of the pixels of a row or column between the box's sides, in the colour of its outline."""

Line = Mapping[str, Any]
"""A line of JSON that `arno stream` or `arno ingest` has written."""


def boxes_of(line: Line) -> list[tuple[str, Box]]:
    """Return the labels and boxes of a frame; none of a frame without an answer."""
    return [
        (region.get("label", ""), _box(region["box"]))
        for result in line.get("results", ())
        for region in result.get("answer", {}).get("detection", {}).get("regions", ())
        if "box" in region
    ]


def _box(given: Mapping[str, float]) -> Box:
    # Protobuf's JSON leaves zeros out.
    return Box(*(given.get(side, 0.0) for side in ("x0", "y0", "x1", "y1")))


def iou(one: Box, other: Box) -> float:
    """Return the intersection over the union of two boxes."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((box.x1 - box.x0) * (box.y1 - box.y0) for box in (one, other))
    return shared / (areas - shared)


def told_iou(film: Film, lines: Sequence[Line]) -> list[float]:
    """Return, for each object of each answered frame, the overlap with the best box told of it."""
    return [
        max((iou(true, found) for _, found in boxes_of(line)), default=0.0)
        for line in lines
        if "results" in line
        for true in film.truth(line["timestamp_ms"] / 1000).values()
    ]


def painted_iou(film: Film, path: Path, label: str) -> list[float]:
    """Return, for each picture of a video of one object, the overlap of the painted box.

    The box is read from the pixels, by the colour of its outline; a picture without one counts 0.
    """
    found = []
    with av.open(str(path)) as container:
        frames: Iterator[Any] = container.decode(video=0)
        for frame in frames:
            (true,) = film.truth(float(frame.time)).values()
            painted = outline(frame.to_image(), colour_of(label))
            found.append(0.0 if painted is None else iou(true, painted))
    return found


def outline(picture: Image.Image, colour: tuple[int, int, int]) -> Box | None:
    """Return the rectangle that is outlined in a colour, or None.

    The label above it has the same colour; it is no wider than the outline and filled, so that the
    lowest long row is the lower edge, and the columns that reach it are the sides.
    """
    pixels = np.asarray(picture, dtype=int)
    like = np.abs(pixels - np.array(colour)).sum(axis=2) < _LIKE
    columns = np.flatnonzero(like.sum(axis=0) >= _EDGE_SHARE * like.sum(axis=0).max(initial=0))
    if not like.any() or len(columns) < 2:
        return None
    x0, x1 = columns[0], columns[-1]
    inside = like[:, x0 : x1 + 1]
    rows = np.flatnonzero(inside.mean(axis=1) >= _EDGE_SHARE)
    side = np.flatnonzero(like[:, x1])
    if not len(rows) or not len(side):
        return None
    # The right side begins at the upper edge: the label begins at the left.
    return Box(float(x0), float(side[0]), float(x1 + 1), float(rows[-1] + 1))


def track_figures(film: Film, lines: Sequence[Line]) -> dict[str, float]:
    """Return HOTA, IDF1, MOTA and switches of identity, as `trackers.eval` computes them."""
    from trackers.eval import evaluate_mot_sequence

    true, told = [], []
    for number, line in enumerate(lines, start=1):
        at_s = line["timestamp_ms"] / 1000
        true += [_mot(number, one + 1, box) for one, box in film.truth(at_s).items()]
        boxes = boxes_of(line)
        told += [_mot(number, each["id"] + 1, boxes[each["region"]][1]) for each in line["tracks"]]
    with tempfile.TemporaryDirectory() as folder:
        truth, answers = (Path(folder) / name for name in ("true.txt", "told.txt"))
        truth.write_text("\n".join(true) + "\n")
        answers.write_text("\n".join(told) + "\n")
        # Each kind of figure is there, as it was asked for.
        found: Any = evaluate_mot_sequence(truth, answers, metrics=["CLEAR", "HOTA", "Identity"])
    return {
        "hota": float(found.HOTA.HOTA),
        "idf1": float(found.Identity.IDF1),
        "mota": float(found.CLEAR.MOTA),
        "switches": int(found.CLEAR.IDSW),
        "objects": len(film.walkers),
        "tracks": len({each["id"] for line in lines for each in line["tracks"]}),
        "frames": len(lines),
    }


def _mot(frame: int, number: int, box: Box) -> str:
    """Return a row of the MOT challenge's form: frame, id, left, top, width, height, ..."""
    sides = (box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0)
    return ",".join([str(frame), str(number), *(f"{side:.2f}" for side in sides), "1", "1", "1"])
