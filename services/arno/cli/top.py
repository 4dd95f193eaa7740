"""`arno top`: lanes, gateways and workers, live."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from arno.cli.main import EXIT_FAILURE
from arno.cli.parameter_types import FiniteRange
from arno.cli.scraping import Page, Reading, page_url, read_pages
from arno.cli.terminal import SafeConsole
from arno.cli.up import STATE_FILE
from arno.errors import ConfigurationError
from arno.ops.help_sections import SectionedCommand
from arno.ops.printable import printable
from arno.vocabulary import Lane

_MIB: Final = 1 << 20
_NAME_WIDTH: Final = 16
_NUMBER_WIDTH: Final = 5
Column: TypeAlias = tuple[str, Callable[[Reading], str]]
Row: TypeAlias = tuple[str | Text, ...]
"""The cells of a process or lane; the first is its name."""


@click.command("top", cls=SectionedCommand)
@click.argument("addresses", nargs=-1, metavar="[HOST:PORT]..")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path(".arno"),
    show_default=True,
    metavar="DIR",
    help="Folder of an `arno up`, whose processes are shown without HOST:PORT.",
)
@click.option(
    "--every",
    "every_s",
    type=FiniteRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar="S",
    help="Seconds between two readings.",
)
@click.option("--once", is_flag=True, help="Print one reading and end.")
def verb(addresses: tuple[str, ...], data: Path, every_s: float, once: bool) -> int:
    """Show lanes, gateways and workers, from their metrics: rates, queues, how busy they are.

    HOST:PORT is the metrics address of a process, as it logs it; any number of gateways and workers
    may be named. Ctrl-C ends it. Where standard output is no terminal, one reading is printed.

    \b
    Examples:
      arno top
      arno top gateway-0:9100 gateway-1:9100 worker-0:9100
      arno top --once --every 5
    """
    urls = [page_url(address) for address in addresses] or _urls_of_up(data)
    console = SafeConsole(highlight=False)
    before = {page.url: page for page in read_pages(urls)}
    if all(page.problem for page in before.values()):
        first = next(iter(before.values()))
        raise ConfigurationError(f"{first.url}: {first.problem}; no process answers")
    if once or not console.is_terminal:
        time.sleep(every_s)
        readings = _read(urls, before)
        console.print(screen(readings, console.width))
        return EXIT_FAILURE if any(reading.now.problem for reading in readings) else 0
    with contextlib.suppress(KeyboardInterrupt), Live(console=console, screen=True) as live:
        while True:
            time.sleep(every_s)
            readings = _read(urls, before)
            live.update(screen(readings, console.width))
            before = {reading.now.url: reading.now for reading in readings}
    return 0


def screen(readings: Sequence[Reading], width: int) -> Group:
    """Return what is shown of the readings: tables of lanes, of gateways and of workers.

    Args:
        readings: At least one.
        width: Of the terminal, in characters.
    """
    gateways = [reading for reading in readings if reading.now.kind == "gateway"]
    workers = [reading for reading in readings if reading.now.kind == "worker"]
    parts: list[Table | Text] = []
    if gateways:
        parts += _tables("lane", _LANE_COLUMNS, _lanes(gateways), width)
    for kind, found, columns in (
        ("gateway", gateways, _GATEWAY_COLUMNS),
        ("worker", workers, _WORKER_COLUMNS),
    ):
        if found:
            parts += _tables(kind, [name for name, _ in columns], _rows(found, columns), width)
    for reading in readings:
        if reading.now.problem:
            sentence = printable(f"{reading.now.url}: {reading.now.problem}")
            parts.append(Text(sentence, style="red"))
    return Group(*(line for part in parts for line in (part, Text())))


def _read(urls: list[str], before: dict[str, Page]) -> list[Reading]:
    return [Reading(before[page.url], page) for page in read_pages(urls)]


def _urls_of_up(data: Path) -> list[str]:
    path = data / STATE_FILE
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        return [page_url(url) for url in state["metrics"].values()]
    except FileNotFoundError:
        sentence = f"{data}: no `arno up` runs there; name it with --data, or name HOST:PORT"
        raise ConfigurationError(sentence) from None
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({error})") from error


def _lanes(gateways: Sequence[Reading]) -> Iterator[Row]:
    for lane in Lane:
        jobs = "arno_gateway_jobs_total"
        served = _sum(gateways, jobs, lane=lane, outcome="served")
        failed = _sum(gateways, jobs, lane=lane, outcome="failed")
        refused = _sum(gateways, "arno_gateway_refusals_total", lane=lane)
        seconds = _sum(gateways, "arno_gateway_job_seconds_sum", lane=lane)
        count = _sum(gateways, "arno_gateway_job_seconds_count", lane=lane)
        # Each gateway counts the records of all.
        records, wait_s = (
            max(one.value(f"arno_gateway_backlog_{unit}", lane=lane) for one in gateways)
            for unit in ("records", "seconds")
        )
        yield (
            str(lane),
            f"{served:.1f}",
            _alarming(failed),
            _alarming(refused),
            f"{seconds / count:.3f}" if count else "",
            f"{records:.0f}",
            f"{wait_s:.1f} s",
        )


def _sum(readings: Sequence[Reading], name: str, **labels: str) -> float:
    return sum(reading.rate(name, **labels) for reading in readings)


def _rows(readings: Sequence[Reading], columns: Sequence[Column]) -> Iterator[Row]:
    for reading in readings:
        name = printable(urlsplit(reading.now.url).netloc)
        yield (name, *(value(reading) for _, value in columns))


def _tables(kind: str, columns: Sequence[str], rows: Iterable[Row], width: int) -> Iterator[Table]:
    """Yield a table of the rows; several, each of some columns, where one would be too wide."""
    kept = list(rows)
    widths = [max(_NUMBER_WIDTH, *map(len, column.split("\n"))) for column in columns]
    first = 0
    while first < len(columns):
        end, left = first, width - _NAME_WIDTH
        while end < len(columns) and (end == first or widths[end] < left):
            left -= widths[end] + 1
            end += 1
        # Without lines, so that all columns fit a terminal of 80; there a long name gives way.
        table = Table(box=None, padding=(0, 1), collapse_padding=True, pad_edge=False)
        table.add_column(kind, style="cyan", overflow="ellipsis", min_width=_NAME_WIDTH)
        for at in range(first, end):
            table.add_column(columns[at], justify="right", no_wrap=True, min_width=widths[at])
        for name, *cells in kept:
            table.add_row(name, *cells[first:end])
        yield table
        first = end


def _alarming(rate: float) -> Text:
    return Text(f"{rate:.1f}", style="red" if rate else "")


def _mebibytes(reading: Reading) -> str:
    return f"{reading.value('process_resident_memory_bytes') / _MIB:.0f}"


_LANE_COLUMNS: Final = ("served/s", "failed/s", "refused/s", "seconds", "waiting", "wait")

_GATEWAY_COLUMNS: Final[tuple[Column, ...]] = (
    ("calls/s", lambda one: f"{one.rate('arno_gateway_requests_total'):.1f}"),
    ("open", lambda one: f"{one.value('arno_gateway_open_requests'):.0f}"),
    ("jobs\nin flight", lambda one: f"{one.value('arno_gateway_jobs_in_flight'):.0f}"),
    ("faults/s", lambda one: f"{one.rate('arno_gateway_faults_total'):.1f}"),
    ("cpu", lambda one: f"{one.rate('process_cpu_seconds_total'):.0%}"),
    ("MiB", _mebibytes),
)

_WORKER_COLUMNS: Final[tuple[Column, ...]] = (
    ("busy", lambda one: f"{one.rate('arno_worker_busy_seconds_total'):.0%}"),
    ("jobs/s", lambda one: f"{one.rate('arno_worker_jobs_total'):.1f}"),
    ("images\n/s", lambda one: f"{one.rate('arno_worker_encoded_images_total'):.1f}"),
    ("tokens\n/s", lambda one: f"{one.rate('arno_worker_tokens_total'):.0f}"),
    ("batch", lambda one: f"{one.value('arno_worker_batch_sequences'):.0f}"),
    ("in\nhand", lambda one: f"{one.value('arno_worker_in_hand_jobs'):.0f}"),
    ("waiting", lambda one: f"{one.value('arno_worker_waiting_sequences'):.0f}"),
    ("lag", lambda one: f"{one.value('arno_worker_lag_records'):.0f}"),
    ("MiB", _mebibytes),
)
