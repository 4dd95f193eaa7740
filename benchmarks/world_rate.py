"""How fast the world is drawn: pictures a second, alone and with the answers of all tasks.

python -m benchmarks.world_rate --processes 2
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import click
from arno.training.data.world import natural_size, samples
from arno.training.world import WORLDS, Split, draw, imagine

from benchmarks.machine import describe

_WARM_UP: Final = 20
"""Scenes before the clock starts: fonts and sprites are loaded by the first that need them."""


def _draw(world: str, number: int) -> None:
    scene = imagine(Split.TRAIN.seed(number), options=WORLDS[world])
    draw(scene, natural_size(scene))


def _draw_and_ask(world: str, number: int) -> None:
    samples(Split.TRAIN, number, world=world)[0].open_image()


@dataclass(frozen=True, slots=True)
class _Rate:
    """Pictures a second: by the clock, and by the processor time that was had."""

    by_clock: float
    by_processor: float


def _measure(work: Callable[[int], None], scenes: int, process: int) -> _Rate:
    """Return the rate of one process; no two draw the same scenes."""
    first = process * (_WARM_UP + scenes)
    for number in range(first, first + _WARM_UP):
        work(number)
    clock_s, processor_s = time.perf_counter(), time.process_time()
    for number in range(first + _WARM_UP, first + _WARM_UP + scenes):
        work(number)
    return _Rate(
        by_clock=scenes / (time.perf_counter() - clock_s),
        by_processor=scenes / (time.process_time() - processor_s),
    )


@click.command()
@click.option("--processes", default=2, show_default=True, help="Processes that draw.")
@click.option("--scenes", default=1000, show_default=True, help="Scenes of each process.")
@click.option(
    "--world",
    type=click.Choice(list(WORLDS)),
    default="tiny",
    show_default=True,
    help="How hard the scenes are.",
)
def main(processes: int, scenes: int, world: str) -> None:
    """Print how many pictures of 320 px all processes draw together in a second."""
    click.echo(json.dumps(describe("cpu")))
    for name, work in (("pictures", _draw), ("pictures with all answers", _draw_and_ask)):
        with ProcessPoolExecutor(processes) as pool:
            rates = list(
                pool.map(partial(_measure, partial(work, world), scenes), range(processes))
            )
        click.echo(
            f"{name}: {sum(rate.by_clock for rate in rates):.0f}/s by the clock, "
            f"{sum(rate.by_processor for rate in rates):.0f}/s if the processor were ours alone"
        )


if __name__ == "__main__":
    main()
