"""The flags that the verbs of data sets share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.table import Table

from arno.cli.terminal import SafeConsole
from arno.dataset.shards import ShardFormat

if TYPE_CHECKING:
    from arno.data_engine.blocks import Workers

DATASET: Final = click.Path(exists=True, file_okay=False, path_type=Path)
out_option: Final = click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the new data set; an unfinished one is resumed.",
)
format_option: Final = click.option(
    "--format",
    "form",
    type=click.Choice([str(form) for form in ShardFormat]),
    default=ShardFormat.PARQUET.value,
    show_default=True,
    help="Of the shards; both hold the same.",
)
engine_option: Final = click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Work on this machine, or on the Ray cluster of RAY_ADDRESS; both write the same.",
)
processes_option: Final = click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes of this machine that work.",
)
shard_option: Final = click.option(
    "--shard-records",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    metavar="N",
    help="Records of a shard.",
)


def workers_of(engine: str, processes: int) -> Workers:
    """Return what the two flags name."""
    from arno.data_engine.blocks import EngineName, Workers

    return Workers(EngineName(engine), processes)


def print_counts(counts: Mapping[str, int], title: str) -> None:
    """Print a table of counts, one a row."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("count", justify="right")
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    SafeConsole(highlight=False).print(table)
