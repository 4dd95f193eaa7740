"""CVAT for images 1.1: annotations.xml, or the folder that it is in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from arno.data_engine.imports.images import ForeignImage, ForeignRegion
from arno.errors import InvalidFieldError


def read_cvat(path: Path, images: Path | None) -> Iterator[ForeignImage]:
    """Yield the images of a file.

    Raises:
        InvalidFieldError: It is not of this format.
    """
    file = path / "annotations.xml" if path.is_dir() else path
    root = images or file.parent / "images"
    try:
        # Expat of 2.4.1 and later refuses files that blow themselves up.
        for _, element in ElementTree.iterparse(file, events=("end",)):  # noqa: S314
            if element.tag == "image":
                regions = [one for part in element for one in _region(part)]
                yield ForeignImage(root / element.attrib["name"], regions=regions)
                element.clear()
    except (OSError, ElementTree.ParseError, KeyError, ValueError) as error:
        problem = f"no annotations of CVAT: {type(error).__name__}: {error}"
        raise InvalidFieldError(field=str(file), problem=problem) from error


def _region(part: ElementTree.Element) -> Iterator[ForeignRegion]:
    """Yield the region that an element draws; points and lines are none."""
    facts = part.attrib
    place: dict[str, Any] | None = None
    if part.tag == "box":
        place = {"box": tuple(float(facts[name]) for name in ("xtl", "ytl", "xbr", "ybr"))}
    elif part.tag == "polygon":
        pairs = facts["points"].split(";")
        place = {"polygons": (tuple(float(one) for pair in pairs for one in pair.split(",")),)}
    if place is not None:
        yield ForeignRegion(facts["label"], place)
