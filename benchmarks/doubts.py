"""Measure how many planted label errors the ranks of doubts find.

python -m benchmarks.doubts --out benchmarks/results/data-engine/doubts.json

The labels are those of rendered scenes of families that arno-tiny was not trained on. Every fourth
image has one error: a label that is missing, one of another class, or one that lies beside its
thing. The model says what it sees, with its scores; the doubts rank the images.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
from arno.bulk import LocalAnswerer
from arno.data_engine.annotation import Sources, annotate
from arno.data_engine.annotators.annotator import TaskAnnotator
from arno.data_engine.doubts import BADLY_PLACED, OVERLOOKED, SWAPPED, Doubt, find_doubts
from arno.data_engine.labels import import_labels
from arno.dataset import Dataset, DatasetWriter, ImageRecord, RegionText
from arno.dataset.shards import ShardFormat
from arno.engine.in_process.florence import load
from arno.training.data import open_data
from arno.training.world import CATEGORIES
from arno.vocabulary import TaskSpec

from benchmarks.machine import describe

_KINDS: Final = (OVERLOOKED, SWAPPED, BADLY_PLACED)
_EVERY: Final = 4
_TOP: Final = 0.3
_BESIDE: Final = 0.35
"""How far a badly placed label is moved, as a part of its sides."""


def plant(record: ImageRecord, chance: random.Random) -> tuple[ImageRecord, str]:
    """Return a record with one error, and its kind; without regions, the record as it was."""
    if not record.regions:
        return record, ""
    at = chance.randrange(len(record.regions))
    kind = chance.choice(_KINDS)
    regions = list(record.regions)
    if kind == OVERLOOKED:
        del regions[at]
    elif kind == SWAPPED:
        others = [one.label for one in CATEGORIES if one.label != regions[at].text]
        regions[at] = regions[at].model_copy(update={"text": chance.choice(others)})
    else:
        regions[at] = _moved(regions[at], chance)
    return record.model_copy(update={"regions": tuple(regions)}), kind


def _moved(region: RegionText, chance: random.Random) -> RegionText:
    x0, y0, x1, y1 = region.bounds
    right = (x1 - x0) * _BESIDE * chance.choice((-1, 1))
    down = (y1 - y0) * _BESIDE * chance.choice((-1, 1))
    box = (x0 + right, y0 + down, x1 + right, y1 + down)
    return region.model_copy(update={"box": box})


def planted(truth: Dataset, out: Path, seed: int) -> dict[str, str]:
    """Write labels with errors; return the kind of each image's error."""
    chance = random.Random(seed)
    manifest = truth.manifest.model_copy(
        update={"complete": False, "images": truth.images_from(out), "steps": ()}
    )
    errors = {}
    with DatasetWriter(out, manifest) as writer:
        for number, record in enumerate(truth):
            wrong, kind = plant(record, chance) if number % _EVERY == 0 else (record, "")
            if kind:
                errors[record.image_id] = kind
            writer.write(wrong)
    return errors


def without_labels(truth: Dataset, out: Path) -> Dataset:
    """Return the images alone."""
    manifest = truth.manifest.model_copy(
        update={"complete": False, "images": truth.images_from(out), "steps": ()}
    )
    with DatasetWriter(out, manifest) as writer:
        for record in truth:
            writer.write(record.model_copy(update={"regions": ()}))
    return Dataset(out)


def found_in_top(doubts: list[Doubt], count: int, errors: dict[str, str]) -> Iterator[Any]:
    """Yield kind, planted errors, and those among the first images, of all and of each kind."""
    top = set(list(dict.fromkeys(one.image_id for one in doubts))[: int(count * _TOP)])
    for kind in ("all", *_KINDS):
        mine = {image for image, error in errors.items() if kind in ("all", error)}
        yield kind, len(mine), len(mine & top)


@click.command()
@click.option("--work", type=click.Path(path_type=Path), default=Path(".cache/doubts"))
@click.option("--scenes", default=160, show_default=True)
@click.option("--seed", default=5, show_default=True)
@click.option("--model", default="tiny", show_default=True)
@click.option("--sure", default=0.85, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.json")
def main(work: Path, scenes: int, seed: int, model: str, sure: float, out: Path | None) -> None:
    """Plant errors, rank doubts, print the table of docs/dataset.md, write the figures."""
    data = f"world:seed={seed},n={scenes},tasks=OD,world=held-out"
    import_labels(open_data(data), work / "truth", annotator="truth", form=ShardFormat.JSONL)
    truth = Dataset(work / "truth")
    errors = planted(truth, work / "labels", seed)
    specs = [TaskSpec("OD")]
    with load(model) as florence:
        annotator = TaskAnnotator(LocalAnswerer(florence, specs), specs, name="model")
        annotate(Sources(without_labels(truth, work / "images")), [annotator], work / "seen")
    doubts = find_doubts(Dataset(work / "labels"), Dataset(work / "seen"), sure=sure)
    rows = []
    for kind, count, hit in found_in_top(doubts, len(truth), errors):
        rows.append({"kind": kind, "planted": count, "found": hit, "share": round(hit / count, 3)})
        click.echo(f"| {kind} | {count} | {hit} | {hit / count:.0%} |")
    if out is not None:
        figures = {
            "machine": describe("cpu"),
            "data": data,
            "model": model,
            "top": _TOP,
            "rows": rows,
        }
        out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
