"""How far a data set agrees with the truth."""

from __future__ import annotations

import pytest
from arno.data_engine.comparison import compare
from arno.dataset import Dataset, DatasetWriter, Manifest
from arno.dataset.shards import ShardFormat
from arno.errors import InvalidFieldError
from support.annotated import record, region, text

LEFT, RIGHT = (10.0, 10.0, 50.0, 60.0), (100.0, 10.0, 150.0, 60.0)


def dataset(folder, *records):
    with DatasetWriter(folder, Manifest(format=ShardFormat.JSONL)) as writer:
        for one in records:
            writer.write(one)
    return Dataset(folder)


@pytest.fixture
def truth(tmp_path):
    regions = (region("cat", *LEFT), region("berry", *RIGHT))
    texts = (text("A cat and two berries."),)
    records = (record(at, regions=regions, texts=texts) for at in range(2))
    return dataset(tmp_path / "truth", *records)


def test_wrong_missing_and_extra_are_counted(truth, tmp_path):
    said = record(
        0,
        regions=(region("Cat", *LEFT), region("dog", *RIGHT), region("dog", *LEFT)),
        texts=(text("A cat and a berry."), text("Two cats.", "t1")),
    )
    found = compare(dataset(tmp_path / "said", said), truth)
    assert (found.regions.found_count, found.regions.true_count) == (3, 4)
    assert found.regions.right_count == 1
    # The first text has 2 of 3 objects, the second 1 of 3; the second image has no text.
    assert (found.objects.found_count, found.objects.true_count) == (4, 9)
    assert found.objects.right_count == 3
    assert found.figures()["region_f1"] == pytest.approx(2 / 7)


def test_the_truth_agrees_with_itself(truth):
    assert set(compare(truth, truth).figures().values()) == {1.0}


def test_other_images_are_refused(truth, tmp_path):
    other = dataset(tmp_path / "other", record(0, image_id="elsewhere"))
    with pytest.raises(InvalidFieldError, match="no image in common"):
        compare(other, truth)
