"""A page of images with their annotations, to be filtered and sorted in a browser.

Everything is in the one file, and its policy forbids it to fetch anything.
"""

from __future__ import annotations

import base64
import heapq
import html
import io
import json
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Final

from PIL import Image

from arno.data_engine.annotators.annotator import LIMITS
from arno.data_engine.doubts import Doubt, doubts_by_image
from arno.dataset import Dataset, ImageRecord, Provenance, RegionText, Text, Triplet
from arno.dataset.records import Place
from arno.errors import ArnoError
from arno.images.decode import decode_image
from arno.ops.atomic_file import write_atomically

_TEMPLATE: Final = "view.html"
_SIDE_PX_MAX: Final = 640
_JPEG_QUALITY: Final = 80
_UNSURE: Final = 0.5
_LAST: Final = float("inf")


def write_view(
    dataset: Dataset,
    path: Path,
    *,
    sort: str,
    count: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write the page and return how many images it shows.

    Args:
        dataset: What is shown.
        path: The file.
        sort: ``disagreement``, ``margin``, ``doubt`` or ``position``: which images are shown, and
            in which order at first.
        count: Images that are shown at most; the first by the order.
        on_progress: Called with the number of images that are read, and of all.
    """
    doubts = doubts_by_image(dataset.folder)
    best = heapq.nsmallest(count, _ranks(dataset, doubts, sort, on_progress))
    shown = []
    for _, number in best:
        record = dataset[number]
        mine = doubts.get(record.image_id, ())
        shown.append(_shown(record, dataset.image_path(record), mine))
    title = f"{dataset.folder.resolve().name}: {len(shown):,} of {len(dataset):,} images"
    page = Template(files("arno.data_engine").joinpath(_TEMPLATE).read_text(encoding="utf-8"))
    # A text must not end the element that holds it.
    data = json.dumps(shown, ensure_ascii=False).replace("<", "\\u003c")
    filled = page.substitute(title=html.escape(title), data=data, sort=sort)
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as written:
        written.write_text(filled, encoding="utf-8", errors="backslashreplace")
    return len(shown)


def keys_of(record: ImageRecord, doubts: Sequence[Doubt] = ()) -> dict[str, float]:
    """Return what a record is sorted by, the first to look at lowest; infinite where unknown.

    Attributes of the result: ``disagreement``, the mean agreement of the annotations;
    ``margin``, how far the least decided score is from 0.5; ``doubt``, the lowest score of a doubt.
    """
    parts: list[Text | RegionText | Triplet] = [
        *record.texts,
        *record.regions,
        *record.triplets,
    ]
    said = [one.provenance for one in parts]
    agreements = [one.agreement for one in said if one.agreement is not None]
    scores = [one.score for one in said if one.score is not None]
    return {
        "disagreement": sum(agreements) / len(agreements) if agreements else _LAST,
        "margin": min((abs(score - _UNSURE) for score in scores), default=_LAST),
        "doubt": min((one.score for one in doubts), default=_LAST),
        "position": float(record.position),
    }


def _ranks(
    dataset: Dataset,
    doubts: dict[str, list[Doubt]],
    sort: str,
    on_progress: Callable[[int, int], None],
) -> Iterator[tuple[float, int]]:
    for number, record in enumerate(dataset):
        yield keys_of(record, doubts.get(record.image_id, ()))[sort], number
        on_progress(number + 1, len(dataset))


def _shown(record: ImageRecord, path: Path, doubts: Sequence[Doubt]) -> dict[str, Any]:
    """Return what the page shows of a record."""
    items = [_item(str(text.granularity), text.text, text.provenance) for text in record.texts]
    items += [
        _item(str(one.kind), one.text, one.provenance, _shapes(one), _doubt(one.text, one, doubts))
        for one in record.regions
    ]
    items += [
        _item("triplet", record.phrase(one), one.provenance, _shapes(one))
        for one in record.triplets
    ]
    for doubt in doubts:
        if doubt.kind == "overlooked":
            x0, y0, x1, y1 = doubt.box
            shape = [x0, y0, x1, y0, x1, y1, x0, y1]
            said = Provenance(annotator="doubts")
            name = f"{doubt.kind} ({doubt.score:.2f})"
            items.append(_item("category", doubt.text, said, [shape], name))
    keys = {name: None if key == _LAST else key for name, key in keys_of(record, doubts).items()}
    return {
        "id": record.image_id,
        "width": record.width_px,
        "height": record.height_px,
        "image": _picture(path),
        "items": items,
        **keys,
    }


def _item(
    kind: str,
    text: str,
    provenance: Provenance,
    shapes: Sequence[Sequence[float]] = (),
    doubt: str = "",
) -> dict[str, Any]:
    return {
        "kind": kind,
        "text": text,
        "by": list(provenance.merged or (provenance.annotator,)),
        "score": provenance.score,
        "agreement": provenance.agreement,
        "shapes": shapes,
        "doubt": doubt,
    }


def _shapes(place: Place) -> list[list[float]]:
    """Return the outlines of a place: x, y, x, y, .. of each."""
    if place.polygons is not None:
        return [list(outline) for outline in place.polygons]
    if place.quad_box is not None:
        return [list(place.quad_box)]
    x0, y0, x1, y1 = place.bounds
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def _doubt(text: str, place: Place, doubts: Sequence[Doubt]) -> str:
    mine = [one for one in doubts if one.text == text and one.box == place.bounds]
    return ", ".join(f"{one.kind} ({one.score:.2f})" for one in mine)


def _picture(path: Path) -> str:
    """Return an image as an address that holds it; empty where it cannot be read."""
    try:
        picture: Image.Image = decode_image(path.read_bytes(), LIMITS, field=str(path)).picture
    except (ArnoError, OSError):
        return ""
    picture = picture.copy()
    picture.thumbnail((_SIDE_PX_MAX, _SIDE_PX_MAX))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
