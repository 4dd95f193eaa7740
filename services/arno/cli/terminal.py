"""Print: the one place through which text reaches the terminal, without control characters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from arno.ops.printable import printable


def echo(text: str, *, err: bool = False) -> None:
    """Print a line; one of JSON stays JSON."""
    click.echo(printable(text), err=err)


@contextlib.contextmanager
def told_when_interrupted(sentence: str) -> Iterator[None]:
    """Print, where Ctrl-C ends the block, what is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        echo(sentence, err=True)
        raise


class SafeConsole(Console):
    """A console whose colours are its own: what it is given to print cannot make any."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield what is printed; segments of control are rich's own and stay."""
        for segment in super().render(renderable, options):
            if segment.is_control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


@contextlib.contextmanager
def progress(doing: str, unit: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yield what shows how many of how many are done: a bar with the time left on a terminal."""
    console = SafeConsole(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn(doing),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as shown:
        bar = shown.add_task(doing, total=None)
        yield lambda done, total: shown.update(bar, completed=done, total=total)
