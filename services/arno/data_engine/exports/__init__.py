"""Write data sets in the formats of other tools, each a module.

Each writes into a folder of its own and returns how many annotations it wrote. What a format cannot
say is left out and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from arno.data_engine.blocks import ONE_PROCESS, Workers
from arno.data_engine.exports.coco import write_coco
from arno.data_engine.exports.cvat import write_cvat
from arno.data_engine.exports.fiftyone import write_fiftyone
from arno.data_engine.exports.jsonl import write_jsonl
from arno.data_engine.exports.label_studio import write_label_studio
from arno.data_engine.exports.yolo import write_yolo
from arno.dataset import Dataset
from arno.errors import InvalidFieldError

JSON_LINES: Final = "jsonl"
EXPORTERS: Final[Mapping[str, Callable[[Dataset, Path], Counter[str]]]] = MappingProxyType(
    {
        "coco": write_coco,
        "yolo": write_yolo,
        JSON_LINES: write_jsonl,
        "label-studio": write_label_studio,
        "fiftyone": write_fiftyone,
        "cvat": write_cvat,
    }
)
"""The formats by their names on the command line."""


def export(dataset: Dataset, out: Path, form: str, workers: Workers = ONE_PROCESS) -> Counter[str]:
    """Write a data set in a format of `EXPORTERS`; files that are there are written over.

    Raises:
        InvalidFieldError: Several workers are asked for a format of whole documents.
        MissingExtraError: Ray is asked for, and not installed.
    """
    if workers != ONE_PROCESS and form != JSON_LINES:
        problem = "one process writes its documents: leave out --engine and --processes"
        raise InvalidFieldError(field="--as", problem=problem, limit=JSON_LINES, sent=form)
    out.mkdir(parents=True, exist_ok=True)
    if form == JSON_LINES:
        return write_jsonl(dataset, out, workers)
    return EXPORTERS[form](dataset, out)
