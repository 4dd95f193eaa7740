"""Verbs of `arno dataset` for people: what may be wrong, what is right, and a page to look at."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click

from arno.cli.dataset.flags import DATASET, out_option, print_counts
from arno.cli.terminal import SafeConsole, echo, progress
from arno.dataset import Dataset
from arno.ops.help_sections import SectionedCommand


@click.command("doubts", cls=SectionedCommand)
@click.argument("labels", type=DATASET)
@click.option(
    "--against",
    type=DATASET,
    required=True,
    metavar="DATASET",
    help="What a model says of the same images, with scores.",
)
@out_option
@click.option(
    "--sure",
    type=click.FloatRange(0, 1),
    default=0.85,
    show_default=True,
    help="Score from which the model counts as sure.",
)
@click.option(
    "--count",
    "images_max",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    metavar="N",
    help="Images of the work list, the likeliest first.",
)
def doubts(labels: Path, against: Path, out: Path, sure: float, images_max: int) -> None:
    """Rank labels that are likely wrong: overlooked, swapped or badly placed.

    OUT is a data set of the images to look at, and doubts.jsonl in it says where and why. Export it
    to Label Studio or FiftyOne, correct it there, and import it back.

    \b
    Example:
      arno annotate labels --task OD --name model --model ./mine --out seen
      arno dataset doubts labels --against seen --out work
      arno dataset export work --as label-studio --out studio
      arno dataset import label-studio:project-1.json --annotator people --out corrected
    """
    from arno.data_engine.doubts import DOUBTS_FILE, find_doubts, write_doubts

    source = Dataset(labels)
    found = find_doubts(source, Dataset(against), sure=sure)
    count = write_doubts(source, found, out, images_max=images_max)
    by_kind = Counter(f"ranked: {one.kind}" for one in found)
    print_counts({"images of the work list": count, **by_kind}, f"{out}")
    echo(f"written: {out / DOUBTS_FILE}", err=True)


@click.command("compare", cls=SectionedCommand)
@click.argument("dataset", type=DATASET)
@click.argument("truth", type=DATASET)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(dataset: Path, truth: Path, as_json: bool) -> None:
    """Print how far DATASET agrees with TRUTH: regions by label and overlap, objects of texts.

    \b
    Example:
      arno dataset compare kept truth
    """
    from rich.table import Table

    from arno.data_engine.comparison import compare as compare_datasets

    found = compare_datasets(Dataset(dataset), Dataset(truth))
    figures = found.figures()
    if as_json:
        echo(json.dumps({"images": found.image_count, **figures}))
        return
    table = Table(title=f"{dataset} against {truth}: {found.image_count:,} images")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:.3f}")
    SafeConsole(highlight=False).print(table)


@click.command("view", cls=SectionedCommand)
@click.argument("dataset", type=DATASET)
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="The page; everything is in it.",
)
@click.option(
    "--sort",
    type=click.Choice(["disagreement", "margin", "doubt", "position"]),
    default="disagreement",
    show_default=True,
    help="Which images come first: those that annotators disagree about, of which scores say "
    "least, that are doubted most, or those of the source.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 5000),
    default=200,
    show_default=True,
    metavar="N",
    help="Images of the page.",
)
def view(dataset: Path, out: Path, sort: str, count: int) -> None:
    """Write a page of images with their annotations, to be filtered and sorted in a browser.

    \b
    Example:
      arno dataset view merged --sort disagreement --out merged.html
    """
    from arno.data_engine.view import write_view

    source = Dataset(dataset)
    with progress("reading", "images") as on_progress:
        shown = write_view(source, out, sort=sort, count=count, on_progress=on_progress)
    echo(f"written: {out}, {shown:,} of {len(source):,} images", err=True)


VERBS = (doubts, compare, view)
