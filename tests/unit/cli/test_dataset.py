"""`arno dataset` as it is typed."""

from __future__ import annotations

import json

import pytest
from arno.cli.dataset import verb
from arno.dataset import Dataset
from arno.errors import InvalidFieldError
from click.testing import CliRunner


def run(*words: object):
    return CliRunner().invoke(verb, [str(word) for word in words], standalone_mode=False)


@pytest.fixture
def labels(tmp_path):
    imported = run("import", "world:seed=5,n=3,tasks=OD+CAPTION", "--out", tmp_path / "labels")
    assert imported.exception is None
    assert "images" in imported.output
    return tmp_path / "labels"


def test_imported_set_is_valid_and_its_images_are_there(labels):
    checked = run("check", labels, "--images", "--json")
    assert checked.return_value == 0
    assert json.loads(checked.output) == {"records": 3, "broken": 0, "images missing": 0}


def test_converted_set_holds_the_same_and_finds_the_images(labels, tmp_path):
    assert (
        run("convert", labels, "--format", "jsonl", "--out", tmp_path / "x" / "y").exception is None
    )
    there, here = Dataset(labels), Dataset(tmp_path / "x" / "y")
    assert list(there) == list(here)
    assert here.image_path(here[0]).is_file()


def test_broken_record_and_missing_image_fail_the_check(labels, tmp_path):
    run("convert", labels, "--format", "jsonl", "--out", tmp_path / "lines")
    (shard,) = (tmp_path / "lines").glob("part-*")
    first, *others = shard.read_text().splitlines(keepends=True)
    shard.write_text(first.replace('"height_px"', '"height"') + "".join(others))
    next((labels / "images").iterdir()).unlink()
    checked = run("check", tmp_path / "lines", "--images", "--json")
    assert checked.return_value == 1
    counts = json.loads(checked.stdout)
    assert counts["broken"] == 1
    assert "part-000000.jsonl:1: height" in checked.stderr
    assert run("check", labels, "--images").return_value == 1


def test_folder_without_a_data_set_is_refused(tmp_path):
    with pytest.raises(InvalidFieldError, match="no data set"):
        raise run("check", tmp_path).exception


def test_schema_is_printed_as_json():
    assert json.loads(run("schema").output)["title"] == "ImageRecord"


def test_filtered_set_is_written_with_its_page(labels, tmp_path):
    done = run("filter", labels, "--out", tmp_path / "kept", "--no-text-rules", "--side-px-min", 90)
    assert done.exception is None
    assert "regions: degenerate" in done.output
    assert (tmp_path / "kept" / "filter.html").is_file()
    assert len(Dataset(tmp_path / "kept")) == 3
