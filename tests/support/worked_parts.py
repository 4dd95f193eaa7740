"""Data sets of several parts, and all steps over them, for workers of every kind."""

from __future__ import annotations

from pathlib import Path

from arno.data_engine.blocks import BLOCK_RECORDS, Workers
from arno.data_engine.card import statistics_of, write_card
from arno.data_engine.exports import export
from arno.data_engine.filtering import filter_dataset
from arno.data_engine.merging import merge_datasets
from arno.dataset import Dataset, DatasetWriter, Manifest
from arno.dataset.filters.settings import FilterSettings
from arno.dataset.merging import MergeSettings
from arno.dataset.shards import ShardFormat, shard_paths
from PIL import Image
from support.annotated import CAPTION, record, region, text, triplet

IMAGES = BLOCK_RECORDS * 2 + 40


def write(folder: Path, annotator: str, shift: float, count: int) -> Dataset:
    """Write what an annotator said of images; every third has a region that is dropped."""
    with DatasetWriter(folder, Manifest(format=ShardFormat.JSONL)) as writer:
        Image.new("RGB", (200, 100), "navy").save(folder / "0.png")
        for at in range(count):
            box = (10.0 + shift, 10.0, 50.0 + at % 7, 40.0)
            regions = [region(f"car {at % 5}", *box, score=0.8, annotator=annotator)]
            if at % 3 == 0:
                regions.append(region("sliver", 5.0, 5.0, 5.5, 50.0, annotator=annotator))
            said = text(CAPTION, annotator=annotator)
            phrase = triplet(2, 9, *box, annotator=annotator)
            parts = {"texts": (said,), "regions": tuple(regions), "triplets": (phrase,)}
            writer.write(record(at, file="0.png", **parts))
    return Dataset(folder)


def write_sources(folder: Path) -> list[Dataset]:
    """Write two data sets of images that are partly the same."""
    return [write(folder / "one", "one", 0, IMAGES), write(folder / "two", "two", 2, IMAGES - 300)]


def make(root: Path, sources: list[Dataset], workers: Workers) -> dict[str, bytes]:
    """Merge, filter, measure and export; return what is written, by its path."""
    merge_datasets(sources, root / "merged", MergeSettings(), workers=workers)
    settings = FilterSettings(text_rules=False, processes=workers.processes)
    filter_dataset(Dataset(root / "merged"), root / "kept", settings, engine=workers.engine)
    kept = Dataset(root / "kept")
    write_card(root / "card", kept, statistics_of(kept, None, workers=workers))
    export(kept, root / "samples", "jsonl", workers)
    return written(root)


def written(root: Path) -> dict[str, bytes]:
    """Return all files of a folder, by their path in it."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Return the files that are not the same in both."""
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


def break_a_record(folder: Path) -> Dataset:
    """Return a data set whose 700th record is broken."""
    broken = write(folder / "broken", "one", 0, IMAGES)
    (path, *_) = shard_paths(broken.folder)
    lines = path.read_text().splitlines(keepends=True)
    lines[699] = '{"image_id": 1}\n'
    path.write_text("".join(lines))
    return broken
