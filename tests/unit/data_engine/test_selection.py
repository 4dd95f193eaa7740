"""Samples, splits and data sets without near-duplicates."""

from __future__ import annotations

import pytest
from arno.data_engine.labels import import_labels
from arno.data_engine.selection import dedup, sample, split
from arno.dataset import Dataset, DatasetWriter, Manifest
from arno.dataset.shards import ShardFormat
from arno.errors import InvalidFieldError
from arno.training.data import open_data
from PIL import Image, ImageEnhance
from support.annotated import record

IDS = range(200)


@pytest.fixture
def numbered(tmp_path):
    with DatasetWriter(tmp_path / "numbered", Manifest(format=ShardFormat.JSONL)) as writer:
        for at in IDS:
            writer.write(record(at, sha256=f"{at // 2:064x}"))  # each image twice
    return Dataset(tmp_path / "numbered")


def ids(folder) -> list[str]:
    return [one.image_id for one in Dataset(folder)]


def test_sample_has_its_size_and_another_seed_is_another(tmp_path, numbered):
    assert sample(numbered, tmp_path / "one", count=20, seed=1) == 20
    sample(numbered, tmp_path / "again", count=20, seed=1)
    sample(numbered, tmp_path / "two", count=20, seed=2)
    assert ids(tmp_path / "one") == ids(tmp_path / "again") != ids(tmp_path / "two")


def test_split_divides_and_keeps_copies_together(tmp_path, numbered):
    parts = {"train": 0.7, "val": 0.1, "test": 0.2}
    counts = split(numbered, tmp_path, parts=parts, seed=0)
    found = {name: set(ids(tmp_path / name)) for name in parts}
    assert sum(counts.values()) == len(IDS) == len(set.union(*found.values()))
    assert {name: len(names) for name, names in found.items()} == counts
    assert 100 < counts["train"] < 175
    for at in range(0, len(IDS), 2):
        homes = {name for name in parts for n in (at, at + 1) if f"image-{n}" in found[name]}
        assert len(homes) == 1


def test_shares_that_are_no_whole_are_refused(tmp_path, numbered):
    with pytest.raises(InvalidFieldError, match=r"together 1; sent: a=0.5, b=0.4"):
        split(numbered, tmp_path, parts={"a": 0.5, "b": 0.4}, seed=0)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Rendered scenes, then a scaled and a brightened copy of two of them, and a broken file."""
    folder = tmp_path_factory.mktemp("scenes")
    import_labels(
        open_data("world:seed=9,n=20,tasks=OD"),
        folder / "true",
        annotator="truth",
        form=ShardFormat.JSONL,
    )
    true = Dataset(folder / "true")
    with DatasetWriter(folder / "all", Manifest(format=ShardFormat.JSONL)) as writer:
        for at, one in enumerate(true):
            path = folder / "all" / f"{at}.png"
            with Image.open(true.image_path(one)) as image:
                image.save(path)
            writer.write(one.model_copy(update={"file": path.name, "position": at}))
        for at, change in ((20, _scaled), (21, _brighter)):
            with Image.open(folder / "all" / f"{at - 18}.png") as image:
                change(image.convert("RGB")).save(folder / "all" / f"{at}.jpg")
            writer.write(record(at, file=f"{at}.jpg"))
        (folder / "all" / "broken.png").write_bytes(b"broken")
        writer.write(record(22, file="broken.png"))
    return Dataset(folder / "all"), true


def _scaled(image: Image.Image) -> Image.Image:
    return image.resize((image.width * 2 // 3, image.height * 2 // 3))


def _brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.1)


def test_changed_copies_are_dropped_and_scenes_are_kept(tmp_path, scenes):
    counts = dedup(scenes[0], tmp_path / "out", distance_max=4)
    assert [one.position for one in Dataset(tmp_path / "out")] == [*range(20), 22]
    assert counts == {"kept": 21, "duplicates": 2, "leaked": 0, "not readable": 1}


def test_images_of_another_set_are_dropped_as_leaks(tmp_path, scenes):
    everything, true = scenes
    sample(true, tmp_path / "test", count=5, seed=0)
    test = Dataset(tmp_path / "test")
    counts = dedup(everything, tmp_path / "out", distance_max=4, against=test)
    assert counts["leaked"] >= 5
    assert not {one.image_id for one in test} & set(ids(tmp_path / "out"))
