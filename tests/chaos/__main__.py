"""`python -m chaos`: kill every part of Arno at random under load, and say what was lost."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
from chaos.machine import MachineOptions
from chaos.run import RunOptions, run_chaos
from support.kafka_broker import WAYS_TO_GET_IT, kafka_available


@click.command()
@click.option("--seconds", default=600.0, show_default=True, help="How long to strike.")
@click.option("--seed", default=1, show_default=True, help="Of the schedule of blows.")
@click.option("--rate", "rate_per_s", default=20.0, show_default=True, help="Questions a second.")
@click.option("--every", "every_s", default=11.0, show_default=True, help="Mean time of a blow, s.")
@click.option("--bus", type=click.Choice(["kafka", "redis"]), default="kafka", show_default=True)
@click.option("--brokers", type=click.Choice(["1", "3"]), default="1", show_default=True)
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep logs and ledger here."
)
def main(keep: Path | None, bus: str, brokers: str, **pace: float) -> None:
    """Run gateways, workers, a bus and a store; kill them at random; judge the answers."""
    if bus == "kafka" and not kafka_available():
        raise click.ClickException(WAYS_TO_GET_IT)
    seed, machine = int(pace.pop("seed")), MachineOptions(bus=bus, brokers=int(brokers))
    options = RunOptions(seed=seed, machine=machine, **pace)
    with tempfile.TemporaryDirectory(prefix="arno-chaos-") as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise click.ClickException(f"--keep {folder}: must be empty, or not there yet")
        click.echo(f"chaos: bus {bus}, brokers {brokers}, seed {seed}, {options.seconds:g} s")
        verdict = run_chaos(folder, options, click.echo)
    for line in verdict.lines():
        click.echo(line)
    sys.exit(0 if verdict.kept else 1)


if __name__ == "__main__":
    main()
