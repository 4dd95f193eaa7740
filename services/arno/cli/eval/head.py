"""`arno eval` of a head: mean average precision of boxes and masks, or mean IoU of pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from arno.cli.main import EXIT_FAILURE
from arno.cli.terminal import SafeConsole, echo
from arno.engine.checkpoints.folders import find_model
from arno.errors import MissingExtraError, ModelError
from arno.training.evaluation.report import REPORT_FILE

if TYPE_CHECKING:
    from arno.engine.heads.load import Head
    from arno.training.heads.judging import Judgement

_SHOWN_ERRORS: Final = 3
_NAMED: Final = {
    "box_map": "mAP of boxes, IoU 0.50 to 0.95",
    "box_map_50": "mAP of boxes, IoU 0.50",
    "mask_map": "mAP of masks, IoU 0.50 to 0.95",
    "mask_map_50": "mAP of masks, IoU 0.50",
    "miou": "mean IoU of the categories",
    "pixel_accuracy": "pixels that are right",
}


def head_folder(model: str | None) -> Path | None:
    """Return the folder of a model that is a head; None for any other model, or none at all."""
    if model is None:
        return None
    try:
        from arno.engine.heads.description import is_head

        folder = find_model(model)
        return folder if is_head(folder) else None
    except (ModelError, ModuleNotFoundError):
        return None  # whatever is wrong with it, loading the model says it better


@dataclass(frozen=True, slots=True)
class HeadReporting:
    """Where an evaluation is told.

    Attributes:
        out: Folder of the report; None writes none.
        as_json: Whether JSON is printed in place of a table.
        notes: The console of notes.
        progress: Returns what shows how many of a number of images are done.
    """

    out: Path | None
    as_json: bool
    notes: Console
    progress: Callable[[Console, int], AbstractContextManager[Callable[[int], None]]]


def judge_head(
    folder: Path, data: str, *, device: str, limit: int | None, shown: HeadReporting
) -> int:
    """Judge the head of a folder, print the figures, and write them where that is asked for.

    Raises:
        ArnoError: The head cannot be loaded, or the data cannot be used.
        MissingExtraError: torchvision is not installed.
    """
    try:
        from arno.engine.heads.load import load_head
        from arno.engine.settings import EngineSettings
        from arno.training.heads.judging import judge
        from arno.training.heads.open_truth import open_truth
        from arno.training.world import Split
    except ModuleNotFoundError as fault:
        raise MissingExtraError(
            f"a head needs {fault.name}: pip install 'arno[heads]'", extra="heads"
        ) from fault
    with shown.notes.status(f"loading {folder}"):
        settings = EngineSettings.model_validate({"model": str(folder), "device": device})
        head = load_head(folder, settings)
        source = open_truth(head.description.kind, data, split=Split.TEST)
    count = min(len(source), limit or len(source))
    with shown.progress(shown.notes, count) as on_progress:
        tally = judge(head.network, head.description, source, range(count), on_progress)
    judgement = tally.judgement()
    for message in judgement.broken[:_SHOWN_ERRORS]:
        shown.notes.print(f"broken, left out: {message}", style="yellow", highlight=False)
    _conclude(_report(head, judgement, data, source.digest), shown.out, as_json=shown.as_json)
    return EXIT_FAILURE if judgement.broken or not judgement.image_count else 0


def _report(head: Head, judgement: Judgement, data: str, digest: str) -> dict[str, Any]:
    return {
        "model": {
            "name": head.card.name,
            "fingerprint": head.card.fingerprint,
            "dtype": head.card.dtype,
        },
        "head": head.description.kind,
        "data": data,
        "data_digest": digest,
        "images": judgement.image_count,
        "broken": list(judgement.broken),
        "figures": judgement.figures,
        "iou_by_category": judgement.by_category,
    }


def _conclude(report: dict[str, Any], out: Path | None, *, as_json: bool) -> None:
    document = json.dumps(report, indent=2, ensure_ascii=False)
    if as_json:
        echo(document)
    else:
        table = Table(
            title=f"{report['head']} head on {report['images']} images of {report['data']}"
        )
        table.add_column("figure")
        table.add_column("value", justify="right")
        for name, value in report["figures"].items():
            table.add_row(_NAMED[name], f"{value:.3f}")
        for name, value in report["iou_by_category"].items():
            table.add_row(f"IoU of {name}", f"{value:.3f}")
        SafeConsole(highlight=False).print(table)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        # Data may have a name that is no UTF-8.
        (out / REPORT_FILE).write_text(f"{document}\n", encoding="utf-8", errors="backslashreplace")
        echo(f"written: {out / REPORT_FILE}", err=True)
