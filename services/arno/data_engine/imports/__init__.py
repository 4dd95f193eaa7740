"""Read what other tools export as data sets, each format a module.

`images` has the one form that all are read into, and writes it. COCO and lines of JSON are read as
training reads them (`labels`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from arno.data_engine.imports.cvat import read_cvat
from arno.data_engine.imports.fiftyone import read_fiftyone
from arno.data_engine.imports.images import Foreign, ForeignImage
from arno.data_engine.imports.label_studio import read_label_studio
from arno.data_engine.imports.yolo import read_yolo
from arno.errors import InvalidFieldError

IMPORTERS: Final[Mapping[str, Callable[[Path, Path | None], Iterator[ForeignImage]]]] = (
    MappingProxyType(
        {
            "yolo": read_yolo,
            "label-studio": read_label_studio,
            "cvat": read_cvat,
            "fiftyone": read_fiftyone,
        }
    )
)
"""The formats by their names on the command line: each takes a path and the folder of images."""


def open_foreign(text: str) -> Foreign | None:
    """Return what a name such as ``cvat:annotations.xml,images=photos`` reads; None of others.

    Raises:
        InvalidFieldError: The file is not there, or an option is unknown.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in IMPORTERS:
        return None
    name, *options = rest.split(",")
    images: Path | None = None
    for option in options:
        key, _, value = option.partition("=")
        if key != "images" or not value:
            problem = "unknown option"
            raise InvalidFieldError(field=text, problem=problem, limit="images=DIR", sent=option)
        images = Path(value)
    for path in (Path(name), images):
        if path is not None and not path.exists():
            raise InvalidFieldError(field=text, problem="is not there", sent=str(path))
    return Foreign(text, Path(name), images, IMPORTERS[kind])
