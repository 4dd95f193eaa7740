"""Command line: measure the parts, keep their figures, and write the page from all of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.clients.batch import measure_batch, measure_broken
from benchmarks.clients.page import measure_page
from benchmarks.clients.report import page_of
from benchmarks.clients.sdk import measure_sdk
from benchmarks.clients.two_gateways import measure_two_gateways
from benchmarks.machine import describe

_ROOT: Final = Path(__file__).resolve().parents[2]
_SMALL: Final = 0.1
PARTS: Final[dict[str, Callable[[float], dict[str, Any]]]] = {
    "drain": measure_two_gateways,
    "sdk": measure_sdk,
    "page": measure_page,
    "batch": measure_batch,
    "broken": measure_broken,
}


@click.command()
@click.option("--only", type=click.Choice(list(PARTS)), default=None, help="One part.")
@click.option("--small", is_flag=True, help="A tenth of each part; print it, and write nothing.")
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=_ROOT / "benchmarks" / "results" / "clients.json",
)
@click.option("--page", type=click.Path(path_type=Path), default=_ROOT / "docs" / "clients.md")
def main(only: str | None, small: bool, results: Path, page: Path) -> None:
    """Measure, keep the figures, write the page."""
    found: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}
    for name in [only] if only else PARTS:
        machine = describe("cpu")
        found[name] = {"machine": machine, **PARTS[name](_SMALL if small else 1.0)}
        click.echo(f"{name}: {json.dumps(found[name], default=str)[:2000]}")
        if not small:
            results.write_text(json.dumps(found, indent=1) + "\n")
    if small:
        click.echo(page_of(found))
    else:
        page.write_text(page_of(found))


if __name__ == "__main__":
    main()
