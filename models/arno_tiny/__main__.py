"""``python -m models.arno_tiny``: train and ship arno-tiny, draw the example images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Make what Arno bundles: the model arno-tiny, and the example images."""


@main.command()
@click.option("--steps", default=4_000, show_default=True, help="Steps in all.")
@click.option("--batch", default=32, show_default=True, help="Scenes a step, over all workers.")
@click.option("--seed", default=0, show_default=True, help="Seed of the starting weights.")
@click.option(
    "--workers", default=2, show_default=True, help="Processes that train, of one thread each."
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".runs/tiny"),
    show_default=True,
    help="Where checkpoints, log and model go. A checkpoint found there is continued.",
)
@click.option(
    "--start-from",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with weights of this network to start from, in place of random ones.",
)
@click.option(
    "--first-scene",
    default=0,
    show_default=True,
    help="Number of the first scene; with --start-from, how many those weights have seen.",
)
@click.option(
    "--by-heart",
    type=int,
    help="Repeat so many scenes: proves that the model can learn them at all.",
)
def train(folder: Path, workers: int, by_heart: int | None, **recipe: Any) -> None:
    """Train arno-tiny on rendered scenes, from nothing or from earlier weights."""
    from models.arno_tiny.launch import launch
    from models.arno_tiny.loop import Recipe

    launch(folder, Recipe(repeat_every=by_heart, **recipe), workers)


@main.command("smoke")
@click.option("--minutes", default=3.0, show_default=True, help="How long to train.")
@click.option("--workers", default=2, show_default=True, help="Processes that train.")
def smoke(minutes: float, workers: int) -> None:
    """Train for a moment; fail unless the loss falls and Arno says what transformers says."""
    from models.arno_tiny.smoke import smoke as train_and_compare

    result = train_and_compare(minutes=minutes, workers=workers)
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
