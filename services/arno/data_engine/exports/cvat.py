"""CVAT for images 1.1: annotations.xml."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from arno.dataset import Dataset


def write_cvat(dataset: Dataset, out: Path) -> Counter[str]:
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
