"""`arno refine`: rounds of training, annotating, merging and filtering."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

import click
from rich.table import Table

from arno.cli.servers import KNOWN_SETTINGS
from arno.cli.terminal import SafeConsole, echo
from arno.data_engine.refinement.settings import RefineSettings
from arno.errors import MissingExtraError
from arno.ops.flags import settings_options
from arno.ops.help_sections import SectionedCommand

_STOPPED: Final = 130
_TENTHS: Final = 10


@click.command("refine", cls=SectionedCommand)
@settings_options(RefineSettings, process="refine", known_elsewhere=KNOWN_SETTINGS)
def verb(settings: RefineSettings) -> int:
    """Train on a data set, annotate its images again, merge and filter, and train on that.

    A round is a folder OUT/round-N with its model, its data and report.html; OUT/README.md has the
    figures of all, and OUT/best links to the round that answers held-out questions best. The rounds
    end with --rounds, or when these answers do not get better. The same
    command resumes a run that was stopped or killed. Settings come from flags, then ARNO_*
    variables, then the file, then defaults.

    \b
    Example:
      arno refine --data labels --validation held-out --out runs/refined --rounds 3
      arno refine --data labels --validation held-out --out runs/refined --lora-rank 16 \\
          --model ./Florence-2-base --epochs 5 --micro-batch 2
    """
    try:
        from arno.data_engine.refinement.report import TABLE_FILE, round_rows
        from arno.data_engine.refinement.run import BEST, refine
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"refining needs {error.name}: pip install 'arno[data]'", extra="data"
        ) from error
    notes = SafeConsole(stderr=True, highlight=False)
    with _progress(notes) as on_progress:
        state = refine(settings, notes, on_progress=on_progress)
    if state is None:
        return _STOPPED
    head, rows = round_rows(state)
    table = Table(title=f"{settings.out}: {state.ended}", title_justify="left")
    for name in head:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    SafeConsole(highlight=False).print(table)
    echo(f"written: {settings.out / TABLE_FILE}; the best round: {settings.out / BEST}", err=True)
    return 0


@contextlib.contextmanager
def _progress(notes: SafeConsole) -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield what prints a line for each tenth of a step."""
    last = ("", 0)

    def show(step: str, done: int, total: int | None) -> None:
        nonlocal last
        tenth = _TENTHS * done // total if total else 0
        if (step, tenth) != last:
            last = (step, tenth)
            notes.print(f"{step}: {done:,} of {total:,}" if total else f"{step}: {done:,}")

    yield show
