"""Data sets of the same images become one."""

from __future__ import annotations

import pytest
from arno.data_engine.merging import merge_datasets
from arno.dataset import Dataset, DatasetWriter, Manifest
from arno.dataset.merging import MergeSettings
from arno.dataset.shards import ShardFormat
from arno.errors import InvalidFieldError
from support.annotated import record, region


def dataset(folder, *records):
    with DatasetWriter(folder, Manifest(format=ShardFormat.JSONL)) as writer:
        for one in records:
            writer.write(one)
    return Dataset(folder)


def test_images_are_merged_by_their_id_and_found_where_they_are(tmp_path):
    one = dataset(
        tmp_path / "one",
        record(0, regions=(region("car", annotator="a", score=0.5),)),
        record(1, regions=(region("dog", annotator="a", score=0.5),)),
    )
    two = dataset(
        tmp_path / "two",
        record(0, image_id="image-7", file="7.png", regions=(region("cup", annotator="b"),)),
        record(1, regions=(region("dog", annotator="b", score=0.7),)),
    )
    counts = merge_datasets([one, two], tmp_path / "out", MergeSettings())
    merged = Dataset(tmp_path / "out")
    assert [(r.image_id, r.position) for r in merged] == [
        ("image-0", 0),
        ("image-1", 1),
        ("image-7", 2),
    ]
    assert merged[1].regions[0].provenance.merged == ("a", "b")
    assert merged[0].regions[0].provenance.agreement == 0.5
    assert merged.image_path(merged[2]).resolve() == (tmp_path / "two" / "7.png").resolve()
    assert counts == {
        "images": 3,
        "regions before": 4,
        "regions after": 3,
        "regions by several annotators": 1,
        "triplets before": 0,
        "triplets after": 0,
        "triplets by several annotators": 0,
    }


def test_image_with_two_sizes_is_refused_by_name(tmp_path):
    one = dataset(tmp_path / "one", record(0))
    two = dataset(tmp_path / "two", record(0, width_px=9))
    with pytest.raises(InvalidFieldError, match=r"image-0: .*different sizes"):
        merge_datasets([one, two], tmp_path / "out", MergeSettings())
