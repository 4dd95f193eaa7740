"""Label Studio: tasks with pre-annotations, and the labelling configuration that shows them.

A work list of doubts is shown beside each image, and what the model finds overlooked is drawn.
`imports.label_studio` reads what Label Studio exports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from arno.client.exports.label_studio import canvas, points_of, rectangle_of
from arno.client.exports.selection import outlines
from arno.data_engine.doubts import OVERLOOKED, Doubt, doubts_by_image
from arno.data_engine.exports.documents import write_json
from arno.dataset import Dataset, Granularity, ImageRecord, RegionText
from arno.vocabulary import Box

LOCAL_FILES: Final = "/data/local-files/?d="
"""Stands before a path in what Label Studio serves from its own disk."""
KINDS_FIELD: Final = "kinds"
"""Field of a task with the kinds of its regions, by their ids."""
TEXT_FIELD: Final = "text_"
"""Begins the name of the field, and of the control, of a text; its granularity follows."""


def write_label_studio(dataset: Dataset, out: Path) -> Counter[str]:
    """Write tasks.json and config.xml."""
    counts: Counter[str] = Counter()
    doubts = doubts_by_image(dataset.folder)
    tasks = [_task(dataset, record, doubts.get(record.image_id, ()), counts) for record in dataset]
    if doubts:
        tasks.sort(key=lambda task: float(task["data"].get("doubt", 1)))
    write_json(out / "tasks.json", tasks)
    names = dict.fromkeys(one.text for record in dataset for one in record.regions if one.text)
    names.update(dict.fromkeys(one.text for some in doubts.values() for one in some))
    grains = sorted({text.granularity for record in dataset for text in record.texts})
    _write_config(out / "config.xml", list(names), grains, doubted=bool(doubts))
    return counts


def _task(
    dataset: Dataset, record: ImageRecord, doubts: Sequence[Doubt], counts: Counter[str]
) -> dict[str, Any]:
    shown = [one for one in record.regions if one.text and one.quad_box is None]
    counts["left out: regions"] += len(record.regions) - len(shown)
    counts["left out: triplets"] += len(record.triplets)
    counts["regions"] += len(shown)
    counts["texts"] += len(record.texts)
    result = [part for at, one in enumerate(shown) for part in _parts(record, one, f"r{at}")]
    for at, doubt in enumerate(one for one in doubts if one.kind == OVERLOOKED):
        result.append(_rectangle(record, doubt.box, doubt.text, f"overlooked-{at}"))
    path = dataset.image_path(record).resolve()
    data: dict[str, Any] = {
        "image": f"{LOCAL_FILES}{str(path).lstrip('/')}",
        "image_id": record.image_id,
        KINDS_FIELD: {f"r{at}": str(one.kind) for at, one in enumerate(shown)},
        **{f"{TEXT_FIELD}{text.granularity}": text.text for text in record.texts},
    }
    if doubts:
        data["doubt"] = min(one.score for one in doubts)
        data["doubts"] = "\n".join(f"{one.kind}: {one.text} ({one.score:.2f})" for one in doubts)
    return {"data": data, "predictions": [{"model_version": "arno", "result": result}]}


def _write_config(
    path: Path, names: Sequence[str], grains: Sequence[Granularity], *, doubted: bool
) -> None:
    view = ElementTree.Element("View")
    if doubted:
        ElementTree.SubElement(view, "Text", name="doubts", value="$doubts")
    ElementTree.SubElement(view, "Image", name="image", value="$image")
    for tag in ("RectangleLabels", "PolygonLabels"):
        control = ElementTree.SubElement(view, tag, name=tag, toName="image")
        for name in names:
            ElementTree.SubElement(control, "Label", value=name)
    for grain in grains:
        field = f"{TEXT_FIELD}{grain}"
        facts = {"name": field, "toName": "image", "value": f"${field}", "maxSubmissions": "1"}
        ElementTree.SubElement(view, "TextArea", facts, editable="true")
    ElementTree.ElementTree(view).write(path, encoding="utf-8")


def _parts(record: ImageRecord, region: RegionText, name: str) -> Iterable[dict[str, Any]]:
    """Yield what Label Studio draws of a region; shapes are in per cent of the image."""
    if region.polygons is None:
        part = _rectangle(record, region.bounds, region.text, name)
        yield part | _score(region)
        return
    for number, outline in enumerate(outlines(region.shape)):
        yield {
            **_base(record),
            **_score(region),
            "type": "polygonlabels",
            "from_name": "PolygonLabels",
            "id": f"{name}-{number}",
            "value": {"points": points_of(outline, record.size), "polygonlabels": [region.text]},
        }


def _rectangle(
    record: ImageRecord, box: tuple[float, float, float, float], label: str, name: str
) -> dict[str, Any]:
    value = {**rectangle_of(Box(*box), record.size), "rectanglelabels": [label]}
    kind = {"type": "rectanglelabels", "from_name": "RectangleLabels"}
    return {**_base(record), **kind, "id": name, "value": value}


def _base(record: ImageRecord) -> dict[str, Any]:
    return {"to_name": "image", **canvas(record.size)}


def _score(region: RegionText) -> dict[str, float]:
    score = region.provenance.score
    return {} if score is None else {"score": score}
