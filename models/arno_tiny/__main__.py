"""``python -m models.arno_tiny``: train and ship arno-tiny, draw the example images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from arno.errors import ConfigurationError
from rich.console import Console


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Make the model arno-tiny that Arno bundles, and the example images."""


@main.command()
@click.option("--steps", default=4_000, show_default=True, help="Number of steps in all.")
@click.option("--batch", default=32, show_default=True, help="Scenes a step, over all processes.")
@click.option("--seed", default=0, show_default=True, help="Seed of the starting weights.")
@click.option(
    "--processes",
    type=int,
    help="Training processes of one thread each.  [default: 2; 1 on a GPU]",
)
@click.option(
    "--loaders",
    type=int,
    help="Processes that draw ahead, for each of these.  [default: 1; on a GPU all cores but one]",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where the network is trained.",
)
@click.option(
    "--world",
    type=click.Choice(["tiny", "open"]),
    default="open",
    show_default=True,
    help="Which scenes are drawn: the emoji alone, or among distractors on any background.",
)
@click.option(
    "--minutes",
    "minutes_max",
    type=float,
    help="Time in which this start ends, whatever the steps; the learning rate falls by it.",
)
@click.option(
    "--learning-rate", default=1.0e-3, show_default=True, help="Learning rate after the warm-up."
)
@click.option(
    "--dense-steps",
    default=400,
    show_default=True,
    help="Number of first steps that train the vision network alone.",
)
@click.option(
    "--evaluate-steps",
    default=600,
    show_default=True,
    help="Steps between two measurements on validation scenes.",
)
@click.option(
    "--checkpoint-steps", default=100, show_default=True, help="Steps between two checkpoints."
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".runs/tiny"),
    show_default=True,
    help="Folder for checkpoint, log and model; a run found there is resumed.",
)
@click.option(
    "--start-from",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with weights of this network to start from, in place of random ones.",
)
@click.option(
    "--first-scene",
    default=0,
    show_default=True,
    help="Number of the first scene; with --start-from, the number that those weights have seen.",
)
@click.option(
    "--by-heart",
    type=int,
    help="Number of scenes to repeat, to prove that the model can learn them at all.",
)
def train(
    folder: Path,
    processes: int | None,
    loaders: int | None,
    by_heart: int | None,
    **recipe: Any,
) -> None:
    """Train arno-tiny on rendered scenes, from nothing or from earlier weights."""
    from models.arno_tiny.recipe import Recipe, launch

    on_gpu = recipe["device"] == "cuda"
    if loaders is None:
        loaders = max(1, (os.cpu_count() or 1) - 1) if on_gpu else 1
    if processes is None:
        processes = 1 if on_gpu else 2
    try:
        launch(
            folder,
            Recipe(repeat_every=by_heart, loader_processes=loaders, **recipe),
            processes,
        )
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error


@main.command("smoke")
@click.option("--minutes", default=3.0, show_default=True, help="Duration of the training.")
@click.option("--processes", default=2, show_default=True, help="Training processes.")
def smoke(minutes: float, processes: int) -> None:
    """Train a few minutes; fail unless the loss falls and Arno answers as transformers does."""
    from models.arno_tiny.smoke import smoke as train_and_compare

    result = train_and_compare(minutes=minutes, processes=processes)
    Console().print(
        f"{result.steps} steps, loss {result.first_loss:.2f} -> {result.last_loss:.2f}; "
        f"{result.equal_count} of {result.asked_count} answers equal in transformers and Arno"
    )
    raise SystemExit(0 if result.is_good else 1)


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--scenes", default=1000, show_default=True, help="Test scenes for the model card.")
def ship(checkpoint: Path, folder: Path, scenes: int) -> None:
    """Make the bundled model in FOLDER from a run's CHECKPOINT, and write its card."""
    from models.arno_tiny.ship import ship as ship_checkpoint

    for task, figures in ship_checkpoint(checkpoint, folder, scenes).figures.items():
        Console().print(task, {name: round(value, 3) for name, value in figures.items()})


@main.command("measure")
@click.argument("model", default="tiny")
@click.option("--scenes", default=1000, show_default=True, help="Test scenes of each kind.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSON file for the figures.",
)
def measure(model: str, scenes: int, out: Path | None) -> None:
    """Measure MODEL, a folder or tiny, on the test split and on what training never draws."""
    from models.arno_tiny.measure import as_table, measure_held_out, write

    rows = measure_held_out(model, scenes)
    if out is not None:
        write(rows, out, model=model, scenes=scenes)
    click.echo(as_table(rows))


@main.command()
@click.argument(
    "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("examples/images")
)
def examples(folder: Path) -> None:
    """Draw the example images and their truth into FOLDER."""
    from models.arno_tiny.examples import draw_examples

    draw_examples(folder)


if __name__ == "__main__":
    main()
