"""A whole data set filtered: what is written, counted and shown."""

from __future__ import annotations

import re

import pytest
from arno.data_engine.filtering import FILTER_PAGE, filter_dataset
from arno.dataset import Dataset, DatasetWriter, Manifest
from arno.dataset.filters.settings import FilterSettings
from arno.dataset.shards import ShardFormat
from PIL import Image
from support.annotated import record, region

SETTINGS = FilterSettings(text_rules=False)


@pytest.fixture
def noisy(tmp_path):
    """Ten images; each odd one has a bad region, the last has nothing else."""
    folder = tmp_path / "noisy"
    with DatasetWriter(folder, Manifest(format=ShardFormat.JSONL, shard_records=4)) as writer:
        for at in range(10):
            Image.new("RGB", (200, 100), "navy").save(folder / f"{at}.png")
            bad = (region("<b>bird</b>", 5.0, 5.0, 6.0, 50.0, score=0.9),) * (at % 2)
            good = (region("car", score=0.8),) * (at < 9)
            writer.write(record(at, regions=(*bad, *good)))
    return Dataset(folder)


def test_what_is_left_is_written_and_the_rest_is_counted(tmp_path, noisy):
    report = filter_dataset(noisy, tmp_path / "out", SETTINGS)
    kept = Dataset(tmp_path / "out")
    assert [one.position for one in kept] == list(range(9))
    assert {one.text for record in kept for one in record.regions} == {"car"}
    assert kept.image_path(kept[0]).is_file()
    assert report.counts() == {
        "images": 10,
        "images without anything left": 1,
        "places cut at the edge": 0,
        "texts: kept": 0,
        "regions: kept": 9,
        "regions: degenerate": 5,
        "triplets: kept": 0,
    }
    assert kept.manifest.steps[-1]["counts"] == report.counts()
    assert kept.manifest.steps[-1]["side_px_min"] == 2.0


def test_page_shows_what_fell_and_fetches_nothing(tmp_path, noisy):
    filter_dataset(noisy, tmp_path / "out", SETTINGS)
    page = (tmp_path / "out" / FILTER_PAGE).read_text()
    assert page.count("data:image/jpeg;base64,") == 5
    assert "&lt;b&gt;bird&lt;/b&gt;" in page
    assert "<b>bird" not in page
    assert not re.search(r"(src|href)='(?!data:)", page)
    assert "5 dropped" in page


def test_image_that_cannot_be_read_does_not_stop_the_page(tmp_path, noisy):
    (noisy.folder / "1.png").write_bytes(b"broken")
    (noisy.folder / "3.png").unlink()
    filter_dataset(noisy, tmp_path / "out", SETTINGS)
    page = (tmp_path / "out" / FILTER_PAGE).read_text()
    assert page.count("data:image/jpeg;base64,") == 3


def test_filter_that_was_cut_short_goes_on_with_whole_counts(tmp_path, noisy):
    def kill(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        filter_dataset(noisy, tmp_path / "out", SETTINGS, on_progress=kill)
    report = filter_dataset(noisy, tmp_path / "out", SETTINGS)
    assert report.image_count == 10
    assert [one.position for one in Dataset(tmp_path / "out")] == list(range(9))
