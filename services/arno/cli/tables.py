"""Show answers to people: one table an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from arno.client import InferResult, TaskResult
from arno.client.drawing import colour_of
from arno.ops.printable import printable
from arno.vocabulary import FinishReason, Region, Task, TextAnswer, bounding_box

_ROWS_MAX: Final = 40
_TASK_CHARS_MAX: Final = 16
_TABLE_COLUMNS_MIN: Final = 60
"""Columns of a terminal below which the table would lose whole columns of its own."""


@dataclass(frozen=True, slots=True)
class _Row:
    label: Text
    place: str
    score: float | None


def print_result(console: Console, name: str, result: InferResult) -> None:
    """Print what the model said about one image: a table, or lines where it does not fit."""
    if console.width < _TABLE_COLUMNS_MIN:
        _print_lines(console, name, result)
        return
    table = Table(title=f"[bold]{escape(name)}[/]{_size(result)}", title_justify="left")
    table.add_column("task", style="cyan", no_wrap=True)
    table.add_column("answer", overflow="fold", min_width=16)
    table.add_column("where (pixels)", no_wrap=True)
    table.add_column("score", justify="right")
    table.add_column("end", no_wrap=True)
    for outcome in result:
        _add(table, outcome)
        table.add_section()
    console.print(table)
    console.print(_footer(result), style="dim", soft_wrap=True)


def _print_lines(console: Console, name: str, result: InferResult) -> None:
    console.print(f"[bold]{escape(name)}[/]{_size(result)}", soft_wrap=True)
    for outcome in result:
        console.print(Text.assemble((outcome.task, "cyan"), "  ", _end(outcome)), soft_wrap=True)
        for row in _shown_rows(outcome):
            parts = [part for part in (row.place, _score(row.score)) if part]
            console.print(Text.assemble("  ", row.label, "  ", "  ".join(parts)), soft_wrap=True)
    console.print(_footer(result), style="dim", soft_wrap=True)


def _add(table: Table, outcome: TaskResult) -> None:
    heads: tuple[str | Text, str | Text] = (_wrapped(outcome.task), _end(outcome))
    for row in _shown_rows(outcome):
        table.add_row(heads[0], row.label, row.place, _score(row.score), heads[1])
        # A task has its name and its end on its first row alone.
        heads = ("", "")


def _end(outcome: TaskResult) -> Text:
    if outcome.error is not None:
        return Text("failed", style="red")
    end = outcome.answer.finish_reason
    return Text(end.lower(), style="green" if end is FinishReason.STOP else "yellow")


def _shown_rows(outcome: TaskResult) -> Iterator[_Row]:
    if outcome.error is not None:
        sentence = Text(printable(f"{outcome.error.reason}: {outcome.error.message}"), style="red")
        yield _Row(sentence, _asked(outcome), None)
        return
    rows = list(_rows(outcome))
    yield from rows[:_ROWS_MAX]
    if len(rows) > _ROWS_MAX:
        yield _Row(Text(f"and {len(rows) - _ROWS_MAX} more", style="dim"), "", None)


def _rows(outcome: TaskResult) -> Iterator[_Row]:
    answer = outcome.answer
    if answer.candidates:
        for scored in answer.candidates:
            words = printable(scored.answer.raw_text) or "(no text)"
            yield _Row(Text(words), f"log-likelihood {scored.log_likelihood:.2f}", scored.posterior)
        return
    if isinstance(answer.value, TextAnswer):
        text = answer.value.text
        label = Text(printable(text)) if text else Text("(no text)", style="dim")
        yield _Row(label, _asked(outcome), answer.score)
        if outcome.region is not None:
            # The region asked about comes back with the answer; it is on this line already.
            return
    elif not outcome.regions:
        left_out = answer.left_out_count
        said = f"({left_out} left out by their scores)" if left_out else "(nothing found)"
        yield _Row(Text(said, style="dim"), _asked(outcome), answer.score)
    for region in outcome.regions:
        yield _Row(_label(region), place_of(region), region.score)


def _wrapped(task: Task) -> str:
    # The longest names would take a third of a terminal.
    if len(task) <= _TASK_CHARS_MAX:
        return str(task)
    head, _, tail = task.rpartition("_")
    return f"{head}_\n{tail}"


def _label(region: Region) -> Text:
    red, green, blue = colour_of(region.label)
    label = printable(region.label) or "(no label)"
    return Text.assemble(("■ ", f"rgb({red},{green},{blue})"), label)


def place_of(region: Region) -> str:
    """Return where a region is: its box, or the box around its outline."""
    if not region.shape:
        return ""
    box = bounding_box(region.shape)
    prefix = "" if not isinstance(region.shape, tuple) else f"{_corner_count(region)} points in "
    return f"{prefix}{box.x0:.0f},{box.y0:.0f},{box.x1:.0f},{box.y1:.0f}"


def _corner_count(region: Region) -> int:
    polygons = region.shape if isinstance(region.shape, tuple) else ()
    return sum(len(polygon.points) for polygon in polygons)


def _asked(outcome: TaskResult) -> str:
    box = outcome.region
    return "" if box is None else f"{box.x0:.0f},{box.y0:.0f},{box.x1:.0f},{box.y1:.0f}"


def _score(score: float | None) -> str:
    # No colours: scores are the model's own opinion, and what is good enough is the caller's.
    return "" if score is None else f"{score:.2f}"


def _size(result: InferResult) -> str:
    image = result.image
    return (
        "" if image is None else f" [dim]{image.width_px} x {image.height_px} {image.mime_type}[/]"
    )


def _footer(result: InferResult) -> str:
    times = [outcome.timings for outcome in result if outcome.ok]
    parts = []
    if times:
        # Queueing, preparing and encoding happen once for all tasks of an image.
        parts.append(
            f"queue {_ms(max(t.queue_s for t in times))}, "
            f"prepare {_ms(max(t.prepare_s for t in times))}, "
            f"encode {_ms(max(t.encode_s for t in times))}, "
            f"decode {_ms(max(t.decode_s for t in times))}"
        )
    if result.model is not None:
        parts.append(f"model {result.model.name} {result.model.dtype}")
    return " · ".join([*parts, f"job {result.job_id}"])


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
