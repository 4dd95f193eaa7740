"""Labels that exist become a data set, and a data set is what training reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from arno.data_engine.labels import import_labels
from arno.dataset import Dataset, DatasetWriter, Manifest, RegionKind
from arno.dataset.shards import ShardFormat
from arno.errors import InvalidFieldError
from arno.training.data import open_data
from arno.vocabulary import Task
from PIL import Image
from support.annotated import record as made
from support.annotated import region

FACTS = {"annotator": "labels", "form": ShardFormat.JSONL}


@pytest.fixture
def boxes(tmp_path):
    """Two images in two folders; one has lines apart from each other, one line is broken."""
    photos = tmp_path / "photos"
    for name in ("a/1.png", "b/2.png"):
        (photos / name).parent.mkdir(parents=True)
        Image.new("RGB", (40, 30)).save(photos / name)
    lines = [
        {"file": "photos/a/1.png", "task": "OD", "answer": [{"label": "cat", "box": [1, 2, 9, 9]}]},
        {"file": "photos/b/2.png", "task": "CAPTION", "answer": "A dog."},
        {"file": "photos/b/2.png", "task": "OD", "answer": [{"label": "", "box": [1, 2, 9, 9]}]},
        {"file": "photos/a/1.png", "task": "CAPTION", "answer": "A cat."},
        {"file": "photos/a/1.png", "task": "PROMPT", "text": "<VQA>How many?", "answer": "one"},
    ]
    path = tmp_path / "boxes.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_lines_of_one_image_become_one_record(tmp_path, boxes):
    counts = import_labels(open_data(str(boxes)), tmp_path / "out", **FACTS)
    first, second = Dataset(tmp_path / "out")
    assert (first.image_id, second.image_id) == ("a/1.png", "b/2.png")
    assert [one.text for one in first.texts] == ["A cat."]
    assert [(one.text, one.box) for one in first.regions] == [("cat", (1, 2, 9, 9))]
    assert second.regions == ()
    assert counts["left out: PROMPT is no annotation"] == 1
    assert counts["left out: broken sample: must not be blank"] == 1
    assert (counts["images"], counts["texts"], counts["regions"]) == (2, 2, 1)


def test_data_set_is_trained_on_as_it_is(tmp_path, boxes):
    import_labels(open_data(str(boxes)), tmp_path / "out", **FACTS)
    source = open_data(str(tmp_path / "out"))
    asked = [(sample.spec.task, sample.answer.regions) for sample in source]
    assert [task for task, _ in asked] == [Task.CAPTION, Task.OD, Task.CAPTION]
    assert source[1].open_image().size == (40, 30)
    assert asked[1][1][0].label == "cat"
    (only,) = open_data(f"{tmp_path / 'out'},tasks=REGION_TO_CATEGORY")
    assert only.answer.text == "cat"


def test_degenerate_region_breaks_its_sample_alone(tmp_path, boxes):
    import_labels(open_data(str(boxes)), tmp_path / "out", **FACTS)
    (shard,) = (tmp_path / "out").glob("part-*")
    shard.write_text(shard.read_text().replace("[1.0,2.0,9.0,9.0]", "[9.0,2.0,9.0,9.0]"))
    source = open_data(str(tmp_path / "out"))
    with pytest.raises(InvalidFieldError, match=r"a/1.png: answer.detection.*empty or inverted"):
        source[1]
    assert source[0].answer.text == "A cat."


def test_rendered_images_are_written_beside_the_data_set(tmp_path):
    source = open_data("world:seed=3,n=2,tasks=OD+CAPTION")
    import_labels(source, tmp_path / "out", annotator="truth", form=ShardFormat.PARQUET)
    read = Dataset(tmp_path / "out")
    for record in read:
        with Image.open(read.image_path(record)) as image:
            assert image.size == (record.width_px, record.height_px)
        assert {one.kind for one in record.regions} == {RegionKind.CATEGORY}
    again = open_data(str(tmp_path / "out"))
    assert sorted(str(one.answer) for one in again) == sorted(str(one.answer) for one in source)


def test_import_that_was_cut_short_goes_on(tmp_path, boxes):
    def kill(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_labels(open_data(str(boxes)), tmp_path / "out", **FACTS, on_progress=kill)
    import_labels(open_data(str(boxes)), tmp_path / "out", **FACTS)
    assert [record.image_id for record in Dataset(tmp_path / "out")] == ["a/1.png", "b/2.png"]


def test_source_without_a_usable_sample_is_refused(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"file": "missing.png", "task": "OD", "answer": []}\n')
    with pytest.raises(InvalidFieldError, match=r"no sample can be used; .*bad.jsonl.*missing.png"):
        import_labels(open_data(str(path)), tmp_path / "out", **FACTS)


def test_questions_about_single_regions_can_be_limited_for_each_image(tmp_path):
    manifest = Manifest(format=ShardFormat.JSONL)
    labels = ("ant", "bee", "cat", "dog")
    with DatasetWriter(tmp_path, manifest) as writer:
        for position in range(3):
            writer.write(made(position, regions=tuple(region(label) for label in labels)))
    data = f"{tmp_path},tasks=OD+REGION_TO_CATEGORY"
    assert len(open_data(data)) == 3 * (1 + 4)
    limited = open_data(f"{data},regions=2")
    said: dict[str, list[str]] = {}
    for sample in limited:
        if sample.spec.task == "REGION_TO_CATEGORY":
            said.setdefault(Path(sample.image_id).stem, []).append(sample.answer.text)
    assert said == {"0": ["ant", "bee"], "1": ["ant", "dog"], "2": ["cat", "dog"]}
    assert len(limited) == 3 * (1 + 2)
    assert limited.digest != open_data(data).digest
    with pytest.raises(InvalidFieldError, match="regions: not a whole number; allowed: 1 or more"):
        open_data(f"{data},regions=0")
