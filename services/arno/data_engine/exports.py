"""Write data sets in the formats of other tools: COCO, YOLO, Label Studio, CVAT, training JSONL.

Each writes into a folder of its own and returns how many annotations it wrote. What a format cannot
say is left out and counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from xml.etree import ElementTree

from arno.dataset import Dataset, ImageRecord, RegionKind, RegionText
from arno.dataset.questions import Asked, questions
from arno.dataset.records import place_of
from arno.vocabulary import GroundingAnswer, Region, TextAnswer

Exporter = Callable[[Dataset, Path], Counter[str]]
_PERCENT: Final = 100.0


def export(dataset: Dataset, out: Path, form: str) -> Counter[str]:
    """Write a data set in a format of `EXPORTERS`; files that are there are written over."""
    out.mkdir(parents=True, exist_ok=True)
    return EXPORTERS[form](dataset, out)


def _coco(dataset: Dataset, out: Path) -> Counter[str]:
    """Write instances.json (categories with boxes and outlines) and captions.json."""
    numbers = {name: at for at, name in enumerate(_category_names(dataset), 1)}
    images: list[dict[str, Any]] = []
    instances: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for image_id, record in enumerate(dataset, 1):
        images.append(
            {
                "id": image_id,
                "file_name": record.file,
                "width": record.width_px,
                "height": record.height_px,
            }
        )
        for region in record.regions:
            if region.kind is RegionKind.CATEGORY:
                entry = {"id": len(instances) + 1, "image_id": image_id}
                instances.append({**entry, **_instance(region, numbers[region.text])})
            else:
                counts[f"left out: {region.kind} regions"] += 1
        for text in record.texts:
            caption = {"caption": text.text, "granularity": str(text.granularity)}
            captions.append({"id": len(captions) + 1, "image_id": image_id, **caption})
        counts["left out: triplets"] += len(record.triplets)
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    whole = {"images": images, "annotations": instances, "categories": categories}
    _write_json(out / "instances.json", whole)
    _write_json(out / "captions.json", {"images": images, "annotations": captions})
    counts.update({"regions": len(instances), "texts": len(captions)})
    return counts


def _instance(region: RegionText, category_id: int) -> dict[str, Any]:
    x0, y0, x1, y1 = region.bounds
    entry: dict[str, Any] = {
        "category_id": category_id,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "segmentation": [list(outline) for outline in region.polygons or ()],
    }
    if region.provenance.score is not None:
        entry["score"] = region.provenance.score
    return entry


def _yolo(dataset: Dataset, out: Path) -> Counter[str]:
    """Write a file of boxes for each image, the list of images, and data.yaml."""
    numbers = {name: at for at, name in enumerate(_category_names(dataset))}
    counts: Counter[str] = Counter()
    images = []
    for record in dataset:
        lines = []
        for region in record.regions:
            if region.kind is not RegionKind.CATEGORY:
                counts[f"left out: {region.kind} regions"] += 1
                continue
            x0, y0, x1, y1 = region.bounds
            width, height = record.width_px, record.height_px
            middle = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height
            sides = (x1 - x0) / width, (y1 - y0) / height
            numbers_of = " ".join(f"{value:.6f}" for value in (*middle, *sides))
            lines.append(f"{numbers[region.text]} {numbers_of}\n")
        path = out / "labels" / Path(record.file).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")
        images.append(f"{dataset.image_path(record).resolve()}\n")
        counts["regions"] += len(lines)
    (out / "images.txt").write_text("".join(images), encoding="utf-8")
    names = "".join(f"  {at}: {json.dumps(name)}\n" for name, at in numbers.items())
    (out / "data.yaml").write_text(
        f"train: images.txt\nval: images.txt\nnames:\n{names}", encoding="utf-8"
    )
    return counts


def _label_studio(dataset: Dataset, out: Path) -> Counter[str]:
    """Write tasks.json with pre-annotations, and the labelling configuration that shows them."""
    counts: Counter[str] = Counter()
    tasks = []
    for record in dataset:
        shown = [one for one in record.regions if one.text and one.quad_box is None]
        counts["left out: regions"] += len(record.regions) - len(shown)
        counts["regions"] += len(shown)
        result = [part for at, one in enumerate(shown) for part in _studio_parts(record, one, at)]
        data = {f"text_{text.granularity}": text.text for text in record.texts}
        path = dataset.image_path(record).resolve()
        data["image"] = f"/data/local-files/?d={str(path).lstrip('/')}"
        data["image_id"] = record.image_id
        predictions = [{"model_version": "arno", "result": result}]
        tasks.append({"data": data, "predictions": predictions})
    _write_json(out / "tasks.json", tasks)
    names = dict.fromkeys(one.text for record in dataset for one in record.regions if one.text)
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image")
    for tag in ("RectangleLabels", "PolygonLabels"):
        control = ElementTree.SubElement(view, tag, name=tag, toName="image")
        for name in names:
            ElementTree.SubElement(control, "Label", value=name)
    ElementTree.ElementTree(view).write(out / "config.xml", encoding="utf-8")
    return counts


def _studio_parts(record: ImageRecord, region: RegionText, at: int) -> Iterable[dict[str, Any]]:
    """Yield what Label Studio draws of a region; shapes are in per cent of the image."""
    width, height = record.width_px, record.height_px
    base: dict[str, Any] = {
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
    }
    if region.provenance.score is not None:
        base["score"] = region.provenance.score
    if region.polygons is not None:
        for part, outline in enumerate(region.polygons):
            xs, ys = outline[0::2], outline[1::2]
            points = [
                [x / width * _PERCENT, y / height * _PERCENT] for x, y in zip(xs, ys, strict=True)
            ]
            value: dict[str, Any] = {"points": points, "polygonlabels": [region.text]}
            kind = {"type": "polygonlabels", "from_name": "PolygonLabels"}
            yield {**base, **kind, "id": f"r{at}-{part}", "value": value}
        return
    x0, y0, x1, y1 = region.bounds
    value = {
        "x": x0 / width * _PERCENT,
        "y": y0 / height * _PERCENT,
        "width": (x1 - x0) / width * _PERCENT,
        "height": (y1 - y0) / height * _PERCENT,
        "rotation": 0,
        "rectanglelabels": [region.text],
    }
    kind = {"type": "rectanglelabels", "from_name": "RectangleLabels"}
    yield {**base, **kind, "id": f"r{at}", "value": value}


def _cvat(dataset: Dataset, out: Path) -> Counter[str]:
    """Write annotations.xml in the form "CVAT for images 1.1"."""
    counts: Counter[str] = Counter()
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    for number, record in enumerate(dataset):
        image = ElementTree.SubElement(
            root,
            "image",
            id=str(number),
            name=record.file,
            width=str(record.width_px),
            height=str(record.height_px),
        )
        for region in record.regions:
            if not region.text:
                counts["left out: proposal regions"] += 1
                continue
            counts["regions"] += 1
            facts = {"label": region.text, "source": "auto", "occluded": "0", "z_order": "0"}
            if region.box is not None:
                x0, y0, x1, y1 = (f"{side:.2f}" for side in region.box)
                ElementTree.SubElement(
                    image, "box", {**facts, "xtl": x0, "ytl": y0, "xbr": x1, "ybr": y1}
                )
                continue
            for outline in region.polygons or (region.quad_box or (),):
                pairs = zip(outline[0::2], outline[1::2], strict=True)
                points = ";".join(f"{x:.2f},{y:.2f}" for x, y in pairs)
                ElementTree.SubElement(image, "polygon", {**facts, "points": points})
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(
        out / "annotations.xml", encoding="utf-8", xml_declaration=True
    )
    return counts


def _jsonl(dataset: Dataset, out: Path) -> Counter[str]:
    """Write samples.jsonl, a question a line, as docs/training.md describes it."""
    counts: Counter[str] = Counter()
    with (out / "samples.jsonl").open("w", encoding="utf-8") as file:
        for record in dataset:
            for asked in questions(record):
                counts["samples"] += 1
                line = {"file": str(dataset.image_path(record).resolve()), **_sample(asked)}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return counts


def _sample(asked: Asked) -> dict[str, Any]:
    line: dict[str, Any] = {"task": str(asked.spec.task)}
    if asked.spec.text:
        line["text"] = asked.spec.text
    answer = asked.answer
    if isinstance(answer, TextAnswer):
        return {**line, "answer": answer.text}
    regions = (
        [region for phrase in answer.phrases for region in phrase.regions]
        if isinstance(answer, GroundingAnswer)
        else answer.regions
    )
    return {**line, "answer": [_spelt(region) for region in regions]}


def _spelt(region: Region) -> dict[str, Any]:
    place = place_of(region.shape).model_dump(exclude_none=True)
    return {"label": region.label, **{name: list(value) for name, value in place.items()}}


def _category_names(dataset: Dataset) -> list[str]:
    names = {
        one.text for record in dataset for one in record.regions if one.kind is RegionKind.CATEGORY
    }
    return sorted(names)


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


EXPORTERS: Final[Mapping[str, Exporter]] = MappingProxyType(
    {
        "coco": _coco,
        "yolo": _yolo,
        "jsonl": _jsonl,
        "label-studio": _label_studio,
        "cvat": _cvat,
    }
)
"""The formats by their names on the command line. FiftyOne reads COCO."""
