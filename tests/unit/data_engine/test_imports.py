"""What other tools export becomes a data set, and what Arno exported comes back."""

from __future__ import annotations

import json

import pytest
from arno.data_engine.exports import export
from arno.data_engine.imports import open_foreign
from arno.data_engine.imports.images import import_images
from arno.dataset import Dataset, DatasetWriter, Manifest, RegionKind
from arno.dataset.shards import ShardFormat
from arno.errors import InvalidFieldError
from PIL import Image
from support.annotated import full_record, record, region, text

BOX = (20.0, 10.0, 60.0, 50.0)


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "set"
    with DatasetWriter(folder, Manifest(format=ShardFormat.JSONL)) as writer:
        writer.write(record(0, regions=(region("dog", *BOX, score=0.5),), texts=(text("A dog."),)))
        writer.write(full_record(1))
    for at in range(2):
        Image.new("RGB", (200, 100)).save(folder / f"{at}.png")
    return Dataset(folder)


def read(written: str, out):
    counts = import_images(open_foreign(written), out, annotator="people", form=ShardFormat.JSONL)
    return list(Dataset(out)), counts


def rounded(record):
    return [
        (one.text, tuple(round(side, 2) for side in one.bounds))
        for one in record.regions
        if one.kind is RegionKind.CATEGORY
    ]


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("yolo", "yolo:{}/data.yaml"),
        ("label-studio", "label-studio:{}/tasks.json"),
        ("fiftyone", "fiftyone:{}"),
    ],
)
def test_category_boxes_come_back(dataset, tmp_path, form, name):
    export(dataset, tmp_path / "out", form)
    back, counts = read(name.format(tmp_path / "out"), tmp_path / "back")
    assert [rounded(one) for one in back] == [rounded(one) for one in dataset]
    assert counts["images"] == 2
    assert [one.file for one in back] == ["0.png", "1.png"]
    assert {one.provenance.annotator for found in back for one in found.regions} == {"people"}


def test_cvat_comes_back_with_boxes_and_outlines(dataset, tmp_path):
    export(dataset, tmp_path / "cvat", "cvat")
    back, _ = read(f"cvat:{tmp_path}/cvat,images={dataset.folder}", tmp_path / "back")
    assert rounded(back[0]) == [("dog", BOX)]
    outlines = [one.polygons[0] for one in back[1].regions if one.polygons is not None]
    assert outlines[0] == (1.0, 1.0, 9.0, 1.0, 9.0, 5.0, 1.0, 5.0)
    assert len(outlines) == 3


def test_label_studio_keeps_kinds_texts_scores_and_ids(dataset, tmp_path):
    export(dataset, tmp_path / "studio", "label-studio")
    back, _ = read(f"label-studio:{tmp_path}/studio/tasks.json", tmp_path / "back")
    assert [one.image_id for one in back] == ["image-0", "image-1"]
    assert back[0].regions[0].provenance.score == 0.5
    assert [one.text for one in back[0].texts] == ["A dog."]
    assert {one.kind for one in back[1].regions} == {RegionKind.CATEGORY, RegionKind.PHRASE}


def test_what_a_person_drew_goes_before_what_was_proposed(dataset, tmp_path):
    export(dataset, tmp_path / "studio", "label-studio")
    file = tmp_path / "studio" / "tasks.json"
    tasks = json.loads(file.read_text())
    drawn = dict(tasks[0]["predictions"][0]["result"][0], id="of-a-person")
    drawn["value"] = {**drawn["value"], "rectanglelabels": ["wolf"]}
    said = {"type": "textarea", "from_name": "text_brief", "value": {"text": ["A wolf."]}}
    tasks[0]["annotations"] = [
        {"result": [drawn, said]},
        {"result": [], "was_cancelled": True},
    ]
    tasks[1]["annotations"] = [{"result": []}]
    file.write_text(json.dumps(tasks))
    back, _ = read(f"label-studio:{file}", tmp_path / "back")
    assert rounded(back[0]) == [("wolf", BOX)]
    assert [one.text for one in back[0].texts] == ["A wolf."]
    assert back[1].regions == ()


def test_uploaded_images_of_label_studio_are_found_by_their_names(tmp_path):
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    task = {"data": {"image": "/data/upload/3/a.png"}, "annotations": []}
    (tmp_path / "tasks.json").write_text(json.dumps([task]))
    back, _ = read(f"label-studio:{tmp_path}/tasks.json,images={tmp_path}", tmp_path / "back")
    assert [one.file for one in back] == ["a.png"]


def test_yolo_of_a_trainer_is_read_with_outlines_scores_and_empty_images(tmp_path):
    images, labels = tmp_path / "images" / "val", tmp_path / "labels" / "val"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for name in ("a", "b"):
        Image.new("RGB", (200, 100)).save(images / f"{name}.jpg")
    (labels / "a.txt").write_text(
        "1 0.5 0.5 0.2 0.4\n0 0.5 0.5 0.2 0.4 0.25\n1 0.1 0.1 0.2 0.1 0.2 0.3\n"
    )
    (tmp_path / "data.yaml").write_text("path: .\nval: images/val\nnames: [cat, dog]\n")
    back, _ = read(f"yolo:{tmp_path}", tmp_path / "back")
    assert [len(one.regions) for one in back] == [3, 0]
    box, scored, outline = back[0].regions
    assert rounded(back[0])[0] == ("dog", (80.0, 30.0, 120.0, 70.0))
    assert (box.provenance.score, scored.provenance.score) == (None, 0.25)
    assert outline.polygons == ((20.0, 10.0, 40.0, 10.0, 40.0, 30.0),)


def test_fiftyone_of_another_tool_is_read_by_its_folder(tmp_path):
    (tmp_path / "data").mkdir()
    Image.new("RGB", (200, 100)).save(tmp_path / "data" / "0001.png")
    found = [{"label": "cat", "bounding_box": [0.1, 0.1, 0.2, 0.4], "confidence": 0.5}]
    (tmp_path / "labels.json").write_text(json.dumps({"classes": [], "labels": {"0001": found}}))
    back, _ = read(f"fiftyone:{tmp_path}", tmp_path / "back")
    assert rounded(back[0]) == [("cat", (20.0, 10.0, 60.0, 50.0))]


def test_what_is_broken_is_left_out_and_counted(tmp_path):
    Image.new("RGB", (200, 100)).save(tmp_path / "a.png")
    labels = {
        str(tmp_path / "a.png"): [
            {"label": "", "bounding_box": [0, 0, 1, 1]},
            {"label": "cat", "bounding_box": [0, 0, 1, 1], "confidence": 7},
            {"label": "dog", "bounding_box": [0, 0, 1, 1]},
        ],
        str(tmp_path / "gone.png"): [],
    }
    (tmp_path / "labels.json").write_text(json.dumps({"labels": labels}))
    back, counts = read(f"fiftyone:{tmp_path}", tmp_path / "back")
    assert [one.text for one in back[0].regions] == ["dog"]
    assert counts["left out: not a region"] == 2
    assert counts["left out: image cannot be read"] == 1


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("label-studio:{}/file", "{", "no JSON"),
        ("label-studio:{}/file", '[{"a": 1}]', "task 0: not a task of Label Studio"),
        ("cvat:{}/file", "<annotations>", "no annotations of CVAT"),
        ("fiftyone:{}/file", "[]", "no FiftyOneImageDetectionDataset"),
        ("yolo:{}/file", "train: x", "no data of YOLO"),
        ("cvat:{}/nowhere", "", "is not there"),
        ("cvat:{}/file,labels=x", "", "unknown option"),
        ("cvat:{}/file", "<annotations/>", "names no image"),
    ],
)
def test_file_that_is_not_of_its_format_is_refused_by_name(tmp_path, name, content, sentence):
    (tmp_path / "file").write_text(content)
    with pytest.raises(InvalidFieldError, match=sentence):
        read(name.format(tmp_path), tmp_path / "out")
