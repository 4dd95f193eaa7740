"""Verbs of `arno dataset` that make data sets of others, measure them and export them."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.table import Table

from arno.cli.dataset.flags import (
    DATASET,
    engine_option,
    out_option,
    print_counts,
    processes_option,
    workers_of,
)
from arno.cli.terminal import SafeConsole, echo, progress
from arno.dataset import Dataset
from arno.errors import InvalidFieldError
from arno.ops.help_sections import SectionedCommand

_seed_option = click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Another one chooses other images.",
)
_FORMATS = ("coco", "yolo", "jsonl", "label-studio", "fiftyone", "cvat")


@click.command("merge", cls=SectionedCommand)
@click.argument("datasets", nargs=-1, required=True, type=DATASET)
@out_option
@click.option(
    "--iou",
    "overlap_min",
    type=click.FloatRange(0, 1),
    default=0.55,
    show_default=True,
    help="Overlap above which places are one.",
)
@click.option(
    "--similarity",
    "similarity_min",
    type=click.FloatRange(0, 1),
    default=0.6,
    show_default=True,
    help="Likeness from which texts support each other.",
)
@click.option(
    "--unscored",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="What annotations without a score count: less than 1 lets a sure model beat labels.",
)
@engine_option
@processes_option
def merge(
    datasets: tuple[Path, ...],
    out: Path,
    overlap_min: float,
    similarity_min: float,
    unscored: float,
    engine: str,
    processes: int,
) -> None:
    """Merge what several annotators said of the same images, within and across data sets.

    Places of one kind that overlap become one, by weighted boxes fusion; its text is the one that
    most support, and its agreement the part of the annotators that do.

    \b
    Examples:
      arno dataset merge seen --out merged
      arno dataset merge labels seen --out merged --iou 0.6
      arno dataset filter merged --out kept --agreement-min 0.5
    """
    from arno.data_engine.merging import merge_datasets
    from arno.dataset.merging import MergeSettings

    settings = MergeSettings(overlap_min, similarity_min, unscored)
    with progress("merging", "images") as on_progress:
        counts = merge_datasets(
            [Dataset(path) for path in datasets],
            out,
            settings,
            workers=workers_of(engine, processes),
            on_progress=on_progress,
        )
    print_counts(counts, f"{out}")


@click.command("stats", cls=SectionedCommand)
@click.argument("dataset", type=DATASET)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write the card (README.md), plots and statistics.json there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--no-texts", is_flag=True, help="Count texts without analysing them.")
@click.option(
    "--spacy-model",
    default="en_core_web_sm",
    show_default=True,
    metavar="NAME",
    help="spaCy's pipeline that analyses the texts.",
)
@engine_option
@processes_option
def stats(
    dataset: Path,
    out: Path | None,
    as_json: bool,
    no_texts: bool,
    spacy_model: str,
    engine: str,
    processes: int,
) -> None:
    """Print the figures of a data set beside those of Florence-2's own.

    \b
    Example:
      arno dataset stats kept --out card
    """
    from arno.data_engine.card import CARD_FILE, figure_rows, statistics_of, write_card

    source = Dataset(dataset)
    workers = workers_of(engine, processes)
    with progress("measuring", "images") as on_progress:
        found = statistics_of(
            source, None if no_texts else spacy_model, workers=workers, on_progress=on_progress
        )
    if as_json:
        echo(json.dumps(found.document(), ensure_ascii=False))
    else:
        table = Table(title=f"{dataset}", title_justify="left")
        table.add_column("what")
        table.add_column("this data set", justify="right")
        table.add_column("FLD-5B", justify="right")
        for row in figure_rows(found):
            table.add_row(*row)
        SafeConsole(highlight=False).print(table)
    if out is not None:
        write_card(out, source, found)
        echo(f"written: {out / CARD_FILE}", err=True)


@click.command("sample", cls=SectionedCommand)
@click.argument("dataset", type=DATASET)
@out_option
@click.option("--count", type=click.IntRange(1), required=True, metavar="N", help="Images.")
@_seed_option
def sample(dataset: Path, out: Path, count: int, seed: int) -> None:
    """Write some images of a data set, chosen evenly by their content and a seed.

    \b
    Example:
      arno dataset sample kept --count 500 --out few
    """
    from arno.data_engine.selection import sample as write_sample

    print_counts({"images": write_sample(Dataset(dataset), out, count=count, seed=seed)}, f"{out}")


@click.command("split", cls=SectionedCommand)
@click.argument("dataset", type=DATASET)
@out_option
@click.option(
    "--parts",
    default="train=0.9,test=0.1",
    show_default=True,
    metavar="NAME=SHARE,..",
    help="Parts and their shares, together 1.",
)
@_seed_option
def split(dataset: Path, out: Path, parts: str, seed: int) -> None:
    """Write a data set for each part below OUT; the content of an image decides its part.

    Copies of a file never stand in two parts, and images that are added later move no others.
    Pictures that are alike may: `arno dataset dedup --against` finds them.

    \b
    Example:
      arno dataset split kept --parts train=0.8,val=0.1,test=0.1 --out parts
    """
    from arno.data_engine.selection import split as write_split

    print_counts(write_split(Dataset(dataset), out, parts=_shares(parts), seed=seed), f"{out}")


@click.command("dedup", cls=SectionedCommand)
@click.argument("dataset", type=DATASET)
@out_option
@click.option(
    "--distance",
    "distance_max",
    type=click.IntRange(0, 16),
    default=4,
    show_default=True,
    metavar="BITS",
    help="Bits of 64 in which the perceptual hashes of duplicates may differ.",
)
@click.option(
    "--against",
    type=DATASET,
    metavar="DATASET",
    help="Also drop what is near an image of this one, such as a test set.",
)
def dedup(dataset: Path, out: Path, distance_max: int, against: Path | None) -> None:
    """Write the images that are no near-duplicate of an earlier one.

    \b
    Examples:
      arno dataset dedup kept --out unique
      arno dataset dedup parts/train --against parts/test --out clean
    """
    from arno.data_engine.selection import dedup as write_unique

    other = None if against is None else Dataset(against)
    with progress("hashing", "images") as on_progress:
        counts = write_unique(
            Dataset(dataset),
            out,
            distance_max=distance_max,
            against=other,
            on_progress=on_progress,
        )
    print_counts(counts, f"{out}")


@click.command("export", cls=SectionedCommand)
@click.argument("dataset", type=DATASET)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the files; those that are there are written over.",
)
@click.option("--as", "form", type=click.Choice(_FORMATS), required=True, help="Format.")
@engine_option
@processes_option
def export(dataset: Path, out: Path, form: str, engine: str, processes: int) -> None:
    """Write a data set in the format of another tool; what it cannot say is counted.

    A work list of `arno dataset doubts` goes to Label Studio and FiftyOne with its doubts.

    \b
    Example:
      arno dataset export kept --as coco --out coco
      arno dataset export kept --as label-studio --out studio
    """
    from arno.data_engine.exports import export as write_export

    workers = workers_of(engine, processes)
    print_counts(write_export(Dataset(dataset), out, form, workers), f"{out}")


def _shares(written: str) -> dict[str, float]:
    parts: dict[str, float] = {}
    for part in written.split(","):
        name, _, share = part.partition("=")
        name = name.strip()
        try:
            parts[name] = float(share)
        except ValueError:
            name = ""
        if not name.isidentifier():
            problem = "not a name and its share"
            raise InvalidFieldError(field="--parts", problem=problem, limit="NAME=SHARE", sent=part)
    return parts


VERBS = (merge, stats, sample, split, dedup, export)
