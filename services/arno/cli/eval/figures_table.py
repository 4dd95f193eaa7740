"""Show the figures of an evaluation to people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from arno.training.evaluation.run import Evaluation

_TASK_CHARS_MAX: Final = 24

NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "map_50": "mAP@0.5",
        "map_50_95": "mAP@[.5:.95]",
        "precision_50": "precision@0.5",
        "recall_50": "recall@0.5",
        "recall_50_95": "recall@[.5:.95]",
        "mean_iou": "mean IoU",
        "overall_iou": "overall IoU",
        "accuracy_50": "accuracy@0.5",
        "box_accuracy_50": "box accuracy@0.5",
        "mask_accuracy_50": "mask accuracy@0.5",
        "f1": "F1",
        "box_f1": "box F1",
        "object_f1": "object F1",
        "description_f1": "description F1",
        "word_f1": "word F1",
        "cider": "CIDEr",
        "exact": "exact",
        "accuracy": "accuracy",
        "vqa_accuracy": "VQA accuracy",
        "character_error": "character error ↓",
        "precision": "precision",
        "recall": "recall",
    }
)
"""How the figures of `arno.training.evaluation.figures` are called."""


def print_figures(console: Console, evaluation: Evaluation, data: str) -> None:
    """Print a line a figure, the main one of each task in bold."""
    model = evaluation.model
    # No title of the table, which would be broken at the table's width.
    console.print(
        f"[bold]{escape(model.name)}[/] [dim]{model.fingerprint[:12]} {model.dtype}[/] "
        f"on {escape(data)}",
        soft_wrap=True,
    )
    table = Table()
    table.add_column("task", style="cyan", no_wrap=True)
    table.add_column("questions", justify="right")
    table.add_column("measure", no_wrap=True)
    table.add_column("figure", justify="right", no_wrap=True)
    for task, judged in evaluation.tasks.items():
        table.add_row(
            _wrapped(str(task)),
            f"{len(judged.cases)}",
            _lines(NAMES[name] for name in judged.figures.values),
            _lines(f"{value:.3f}" for value in judged.figures.values.values()),
        )
        table.add_section()
    console.print(table)
    console.print(_footer(evaluation), style="dim", soft_wrap=True)


def _lines(words: Iterable[str]) -> Text:
    """Return words below one another, the first of them in bold."""
    first, *others = words
    return Text("\n").join([Text(first, style="bold"), *(Text(one, style="dim") for one in others)])


def _wrapped(task: str) -> str:
    # The longest names would take half of a terminal; no line breaks elsewhere.
    if len(task) <= _TASK_CHARS_MAX:
        return task
    head, _, tail = task.rpartition("_")
    return f"{head}_\n{tail}"


def _footer(evaluation: Evaluation) -> str:
    parts = [f"{evaluation.asked_count} questions in {evaluation.seconds:.0f} s"]
    if evaluation.earlier_count:
        parts.append(f"{evaluation.earlier_count} more from an earlier run")
    parts.append(evaluation.model.where)
    parts += [
        f"{count} ended by {reason}"
        for reason, count in evaluation.ends.items()
        if reason != "STOP"
    ]
    if evaluation.failed:
        parts.append(f"{len(evaluation.failed)} failed")
    if evaluation.unasked:
        parts.append(f"{len(evaluation.unasked)} could not be asked")
    return " · ".join(parts)
