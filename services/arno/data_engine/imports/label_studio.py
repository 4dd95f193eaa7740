"""Label Studio: the JSON that it exports, or the tasks that Arno wrote for it.

Of a task's annotations the last that was not cancelled counts; of a task without annotations,
the first prediction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from arno.data_engine.exports.label_studio import KINDS_FIELD, TEXT_FIELD
from arno.data_engine.imports.images import ForeignImage, ForeignRegion
from arno.dataset import Granularity
from arno.errors import InvalidFieldError

_PERCENT: Final = 100.0
_OVERLOOKED: Final = "overlooked-"


def read_label_studio(path: Path, images: Path | None) -> Iterator[ForeignImage]:
    """Yield the images of a file.

    Raises:
        InvalidFieldError: It is no list of tasks.
    """
    try:
        tasks = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidFieldError(field=str(path), problem=f"no JSON: {error}") from error
    for number, task in enumerate(tasks if isinstance(tasks, list) else [tasks]):
        try:
            yield _image(task, images)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problem = f"not a task of Label Studio: {type(error).__name__}: {error}"
            raise InvalidFieldError(field=f"{path}: task {number}", problem=problem) from error


def _image(task: Mapping[str, Any], images: Path | None) -> ForeignImage:
    data = task["data"]
    kinds = data.get(KINDS_FIELD) or {}
    texts = {
        grain: str(data[field])
        for grain in Granularity
        if (field := f"{TEXT_FIELD}{grain}") in data
    }
    regions = []
    for part in _results(task):
        field, value = part.get("from_name", ""), part["value"]
        if part["type"] == "textarea" and field.removeprefix(TEXT_FIELD) in set(Granularity):
            texts[Granularity(field.removeprefix(TEXT_FIELD))] = " ".join(value["text"])
        elif part["type"] in {"rectanglelabels", "polygonlabels"}:
            regions.append(_region(part, value, kinds))
    return ForeignImage(
        path=_path(data["image"], images),
        image_id=str(data.get("image_id", "")),
        regions=regions,
        texts=[*texts.items()],
    )


def _results(task: Mapping[str, Any]) -> list[Any]:
    """Return what was drawn."""
    done = [one for one in task.get("annotations") or () if not one.get("was_cancelled")]
    if done:
        return list(done[-1]["result"])
    # Of what Arno proposes, what a model finds overlooked was accepted by no person.
    proposed = (task.get("predictions") or [{"result": []}])[0]["result"]
    return [one for one in proposed if not str(one.get("id", "")).startswith(_OVERLOOKED)]


def _region(part: Mapping[str, Any], value: Mapping[str, Any], kinds: Any) -> ForeignRegion:
    name = str(part.get("id", ""))
    labels = value.get(part["type"]) or [""]
    if part["type"] == "rectanglelabels":
        x, y, width, height = (value[key] / _PERCENT for key in ("x", "y", "width", "height"))
        place: dict[str, Any] = {"box": (x, y, x + width, y + height)}
    else:
        numbers = (number / _PERCENT for point in value["points"] for number in point)
        place = {"polygons": (tuple(numbers),)}
        name = name.rpartition("-")[0]
    kind = str(kinds.get(name, "category"))
    return ForeignRegion(labels[0], place, kind=kind, score=part.get("score"), shares=True)


def _path(image: str, images: Path | None) -> Path:
    """Return the file of an image: a path that Label Studio serves, or one below a folder."""
    address = urlsplit(image)
    served = parse_qs(address.query).get("d", [""])[0]
    if served and images is None:
        return Path("/") / served
    name = Path(served or address.path)
    if images is None:
        return name
    below = images / str(name).lstrip("/")
    return below if below.exists() else images / name.name
