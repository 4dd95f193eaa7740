"""`python -m chaos`: disturb every part of Arno at random under load, and judge its history."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from chaos import schedule
from chaos.machine import MachineOptions
from chaos.run import RunOptions, run_chaos
from chaos.schedule import KILLS_AND_FREEZES, Disruption, Nemesis
from chaos.shrink import shrink
from chaos.verdict import Verdict
from support.kafka_broker import WAYS_TO_GET_IT, kafka_available

_DEFAULT = tuple(one.value for one in Nemesis)


@click.command()
@click.option("--seconds", default=600.0, show_default=True, help="How long to disturb.")
@click.option("--seed", default=1, show_default=True, help="Seed of the schedule.")
@click.option("--rate", "rate_per_s", default=20.0, show_default=True, help="Requests a second.")
@click.option(
    "--every",
    "every_s",
    default=11.0,
    show_default=True,
    help="Mean time between two disruptions, s.",
)
@click.option(
    "--settle",
    "settle_s",
    default=90.0,
    show_default=True,
    help="Time to answer everything at the end, s.",
)
@click.option(
    "--nemesis",
    "nemeses",
    multiple=True,
    default=_DEFAULT,
    show_default=True,
    type=click.Choice([one.value for one in Nemesis]),
    help="What may be done; repeat for several.",
)
@click.option("--bus", type=click.Choice(["kafka", "redis"]), default="kafka", show_default=True)
@click.option("--brokers", type=click.Choice(["1", "3"]), default="1", show_default=True)
@click.option(
    "--schedule",
    "schedule_file",
    type=click.Path(exists=True, path_type=Path),
    help="Follow a saved schedule in place of the seed's.",
)
@click.option(
    "--shrink",
    "shrink_runs",
    default=0,
    show_default=True,
    help="After a broken promise, look for a shorter schedule in at most this number of runs.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep logs, schedule and history here.",
)
def main(
    keep: Path | None,
    bus: str,
    brokers: str,
    nemeses: Sequence[str],
    schedule_file: Path | None,
    shrink_runs: int,
    **pace: float,
) -> None:
    """Run gateways, workers, a bus and a store; disturb them at random; judge the history."""
    if bus == "kafka" and not kafka_available():
        raise click.ClickException(WAYS_TO_GET_IT)
    seed = int(pace.pop("seed"))
    machine = MachineOptions(
        bus=bus, brokers=int(brokers), nemeses=frozenset(map(Nemesis, nemeses))
    )
    options = RunOptions(seed=seed, machine=machine, **pace)
    if schedule_file:
        options = _following(options, schedule.load(schedule_file))
    with tempfile.TemporaryDirectory(prefix="arno-chaos-") as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise click.ClickException(f"--keep {folder}: must be empty, or not there yet")
        click.echo(f"chaos: bus {bus}, brokers {brokers}, seed {seed}, {options.seconds:g} s")
        verdict = _run(folder / "run", options)
        if not verdict.kept and shrink_runs:
            _shrink(folder, options, shrink_runs)
    sys.exit(0 if verdict.kept else 1)


def _run(folder: Path, options: RunOptions) -> Verdict:
    folder.mkdir()
    verdict = run_chaos(folder, options, click.echo)
    for line in verdict.lines():
        click.echo(line)
    return verdict


def _shrink(folder: Path, options: RunOptions, runs_max: int) -> None:
    numbers = iter(range(1, runs_max + 1))

    def fails(disruptions: Sequence[Disruption]) -> bool:
        number = next(numbers)
        click.echo(f"shrink: run {number} with {len(disruptions)} disruptions")
        return not _run(folder / f"shrink-{number}", _following(options, disruptions)).kept

    whole = schedule.load(folder / "run" / "schedule.json")
    shortest = shrink(whole, fails, runs_max=runs_max)
    schedule.save(shortest, folder / "shortest.json")
    click.echo(f"shrink: {len(whole)} disruptions to {len(shortest)}:")
    for disruption in shortest:
        click.echo(str(disruption))


def _following(options: RunOptions, disruptions: Sequence[Disruption]) -> RunOptions:
    nemeses = KILLS_AND_FREEZES | {disruption.nemesis for disruption in disruptions}
    machine = dataclasses.replace(options.machine, nemeses=nemeses)
    return dataclasses.replace(options, disruptions=disruptions, machine=machine)


if __name__ == "__main__":
    main()
