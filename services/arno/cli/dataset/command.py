"""`arno dataset`: make data sets of annotated images.

`making` and `review` have the further verbs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click

from arno.cli.dataset.flags import (
    DATASET,
    engine_option,
    format_option,
    out_option,
    print_counts,
    shard_option,
)
from arno.cli.dataset.making import VERBS
from arno.cli.dataset.review import VERBS as REVIEW_VERBS
from arno.cli.main import EXIT_FAILURE, show_error
from arno.cli.servers import KNOWN_SETTINGS
from arno.cli.terminal import SafeConsole, echo, progress
from arno.dataset import Dataset, DatasetWriter
from arno.dataset.filters.settings import FilterSettings
from arno.dataset.records import record_schema
from arno.dataset.shards import ShardFormat, shard_paths
from arno.errors import InvalidFieldError
from arno.ops.flags import settings_options
from arno.ops.help_sections import SectionedGroup

_SHOWN_ERRORS: Final = 3


@click.group("dataset", cls=SectionedGroup)
def verb() -> None:
    """Make data sets of annotated images, check, filter, merge, measure and export them.

    A data set holds texts, regions with texts, and phrases of texts with regions, each with where
    it is from; docs/dataset.md describes it. `arno train --data DATASET` trains on one.

    \b
    Example:
      arno dataset import coco:instances.json,images=photos --out labels
      arno dataset check labels
      arno dataset filter labels --out kept
      arno dataset stats kept --out card
      arno dataset export kept --as coco --out coco
    """


@verb.command("import")
@click.argument("data")
@out_option
@format_option
@shard_option
@click.option(
    "--annotator",
    default="labels",
    show_default=True,
    metavar="NAME",
    help="What the provenance of each annotation says.",
)
def import_data(data: str, out: Path, form: str, shard_records: int, annotator: str) -> None:
    """Make a data set of labels that exist.

    DATA is what `arno train --data` takes, or what another tool exported: yolo:data.yaml,
    label-studio:FILE.json, cvat:annotations.xml or fiftyone:DIR, each with ,images=DIR where the
    images are elsewhere. Equal images become one record with all their annotations. What is broken
    is left out and counted.

    \b
    Example:
      arno dataset import 'coco:instances.json,images=photos,tasks=OD' --out labels
      arno dataset import label-studio:project-1.json --annotator people --out corrected
      arno dataset import cvat:annotations.xml,images=photos --out labels
      arno dataset import world:seed=7,n=200 --out scenes
    """
    from arno.data_engine.imports import open_foreign
    from arno.data_engine.imports.images import import_images
    from arno.data_engine.labels import import_labels
    from arno.training.data import open_data

    foreign = open_foreign(data)
    if foreign is not None:
        with progress("importing", "images") as on_foreign:
            counts = import_images(
                foreign,
                out,
                annotator=annotator,
                form=ShardFormat(form),
                shard_records=shard_records,
                on_progress=on_foreign,
            )
        print_counts(counts, f"{out}")
        return
    notes = SafeConsole(stderr=True, highlight=False)
    with notes.status("reading the labels"):
        source = open_data(data)
    with progress("importing", "images") as on_progress:
        counts = import_labels(
            source,
            out,
            annotator=annotator,
            name=data,
            form=ShardFormat(form),
            shard_records=shard_records,
            on_progress=on_progress,
        )
    print_counts(counts, f"{out}")


@verb.command("check")
@click.argument("dataset", type=DATASET)
@click.option("--images", is_flag=True, help="Also look whether each image is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(dataset: Path, images: bool, as_json: bool) -> int:
    """Validate each record of a data set; exit 1 where one is broken.

    \b
    Example:
      arno dataset check labels --images
    """
    found, counts = Dataset(dataset), {"records": 0, "broken": 0, "images missing": 0}
    for index in range(len(found)):
        try:
            record = found[index]
        except InvalidFieldError as error:
            counts["broken"] += 1
            if counts["broken"] <= _SHOWN_ERRORS:
                show_error(error)
            continue
        counts["records"] += 1
        counts["images missing"] += images and not found.image_path(record).is_file()
    if as_json:
        echo(json.dumps(counts))
    else:
        print_counts(counts, f"{dataset}: {len(shard_paths(dataset))} shards")
    return EXIT_FAILURE if counts["broken"] or counts["images missing"] else 0


@verb.command("convert")
@click.argument("dataset", type=DATASET)
@out_option
@format_option
@shard_option
def convert(dataset: Path, out: Path, form: str, shard_records: int) -> None:
    """Write a data set with other shards: JSON lines to read, Parquet to keep.

    \b
    Example:
      arno dataset convert labels --format jsonl --out labels-jsonl
    """
    source = Dataset(dataset)
    changed = {
        "format": ShardFormat(form),
        "shard_records": shard_records,
        "images": source.images_from(out),
        "complete": False,
    }
    with (
        DatasetWriter(out, source.manifest.model_copy(update=changed)) as writer,
        progress("converting", "records") as on_progress,
    ):
        begun_at = writer.record_count
        for number in range(begun_at, len(source)):
            writer.write(source[number])
            on_progress(number + 1, len(source))
    print_counts({"records": len(source)}, f"{out}")


@verb.command("filter")
@click.argument("dataset", type=DATASET)
@out_option
@engine_option
@settings_options(FilterSettings, process="filter", known_elsewhere=KNOWN_SETTINGS)
def filter_data(settings: FilterSettings, dataset: Path, out: Path, engine: str) -> None:
    """Write what is worth keeping of a data set, and a page that shows what each rule dropped.

    The rules and their defaults: docs/dataset.md. Settings come from flags, then ARNO_* variables,
    then the file, then defaults.

    \b
    Example:
      arno dataset filter labels --out kept
      arno dataset filter labels --out kept --score-min 0.5 --processes 4
      arno dataset filter labels --out kept --no-text-rules
    """
    from arno.data_engine.blocks import EngineName
    from arno.data_engine.filtering import FILTER_PAGE, filter_dataset

    source = Dataset(dataset)
    with progress("filtering", "images") as on_progress:
        report = filter_dataset(
            source, out, settings, engine=EngineName(engine), on_progress=on_progress
        )
    print_counts(report.counts(), f"{out}")
    echo(f"written: {out / FILTER_PAGE}", err=True)


@verb.command("schema")
def schema() -> None:
    """Print the JSON Schema of a record.

    \b
    Example:
      arno dataset schema > record.schema.json
    """
    echo(json.dumps(record_schema(), indent=2))


for _command in (*VERBS, *REVIEW_VERBS):
    verb.add_command(_command)
