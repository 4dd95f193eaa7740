"""What other tools get, read by their own readers where there is one here."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
import yaml
from arno.data_engine.exports import EXPORTERS, export
from arno.data_engine.labels import import_labels
from arno.dataset import Dataset, DatasetWriter, Manifest, RegionKind
from arno.dataset.shards import ShardFormat
from arno.training.data import open_data
from PIL import Image
from pycocotools.coco import COCO
from support.annotated import full_record, record, region


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "set"
    outline = region("dog").model_copy(
        update={"box": None, "polygons": ((20.0, 10.0, 40.0, 10.0, 40.0, 30.0),)}
    )
    with DatasetWriter(folder, Manifest(format=ShardFormat.JSONL)) as writer:
        writer.write(full_record(0))
        writer.write(record(1, regions=(region("dog", 20.0, 10.0, 60.0, 50.0, score=0.5), outline)))
    for at in range(2):
        Image.new("RGB", (200, 100)).save(folder / f"{at}.png")
    return Dataset(folder)


def boxes(found: Dataset) -> list[tuple[str, list[float]]]:
    return [
        (one.text, [round(side, 3) for side in one.bounds])
        for record in found
        for one in record.regions
        if one.kind is RegionKind.CATEGORY
    ]


def test_coco_is_read_by_its_own_library(dataset, tmp_path, capsys):
    counts = export(dataset, tmp_path / "coco", "coco")
    found = COCO(str(tmp_path / "coco" / "instances.json"))
    capsys.readouterr()
    assert [one["name"] for one in found.loadCats(found.getCatIds())] == ["car", "dog"]
    (box,) = (one for one in found.loadAnns(found.getAnnIds(imgIds=[2])) if "score" in one)
    assert (box["bbox"], box["score"]) == ([20.0, 10.0, 40.0, 40.0], 0.5)
    assert counts["regions"] == 3
    assert counts["left out: ocr regions"] == 1
    assert counts["left out: triplets"] == 2


def test_coco_comes_back_as_the_same_boxes(dataset, tmp_path):
    export(dataset, tmp_path / "coco", "coco")
    data = f"coco:{tmp_path / 'coco' / 'instances.json'},images={dataset.folder}"
    import_labels(open_data(data), tmp_path / "back", annotator="coco", form=ShardFormat.JSONL)
    assert boxes(Dataset(tmp_path / "back")) == boxes(dataset)


def test_samples_come_back_as_the_same_annotations(dataset, tmp_path):
    export(dataset, tmp_path / "jsonl", "jsonl")
    data = str(tmp_path / "jsonl" / "samples.jsonl")
    import_labels(open_data(data), tmp_path / "back", annotator="one", form=ShardFormat.JSONL)
    back = Dataset(tmp_path / "back")
    assert boxes(back) == boxes(dataset)
    assert [t.text for t in back[0].texts] == [t.text for t in dataset[0].texts]
    assert [back[0].phrase(t) for t in back[0].triplets] == ["A red car", "two cats"]
    assert {one.text for one in back[0].regions} == {"car", "STOP"}


def test_yolo_has_shares_of_the_image(dataset, tmp_path):
    export(dataset, tmp_path / "yolo", "yolo")
    names = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())["names"]
    assert names == {0: "car", 1: "dog"}
    first = (tmp_path / "yolo" / "labels" / "1.txt").read_text().splitlines()[0]
    assert first == "1 0.200000 0.300000 0.200000 0.400000"
    images = (tmp_path / "yolo" / "images.txt").read_text().split()
    assert [open_image.rpartition("/")[2] for open_image in images] == ["0.png", "1.png"]


def test_yolo_names_labels_as_trainers_look_for_them(tmp_path):
    (tmp_path / "set" / "images").mkdir(parents=True)
    Image.new("RGB", (200, 100)).save(tmp_path / "set" / "images" / "a.png")
    with DatasetWriter(tmp_path / "set", Manifest(format=ShardFormat.JSONL)) as writer:
        writer.write(record(0, file="images/a.png", regions=(region("dog"),)))
    export(Dataset(tmp_path / "set"), tmp_path / "yolo", "yolo")
    (name,) = (tmp_path / "yolo" / "images.txt").read_text().split()
    image = tmp_path / "yolo" / name
    assert image.is_file()
    labels = "/labels/".join(str(image).rsplit("/images/", 1)).replace(".png", ".txt")
    assert (tmp_path / labels).read_text().startswith("0 ")


def test_label_studio_has_per_cents_and_a_label_for_each_text(dataset, tmp_path):
    export(dataset, tmp_path / "studio", "label-studio")
    tasks = json.loads((tmp_path / "studio" / "tasks.json").read_text())
    box, outline = tasks[1]["predictions"][0]["result"]
    sides = [box["value"][name] for name in ("x", "y", "width", "height")]
    assert sides == [10.0, 10.0, 20.0, 40.0]
    assert box["value"]["rectanglelabels"] == ["dog"]
    assert outline["value"]["points"] == [[10.0, 10.0], [20.0, 10.0], [20.0, 30.0]]
    assert tasks[0]["data"]["text_brief"] == "A red car next to two cats."
    view = ElementTree.parse(tmp_path / "studio" / "config.xml")  # noqa: S314 - our own
    assert {one.get("value") for one in view.iter("Label")} >= {"car", "dog"}
    controls = {one.get("name") for one in view.iter() if one.get("toName")}
    assert {one["from_name"] for one in (box, outline)} <= controls


def test_cvat_has_boxes_and_polygons(dataset, tmp_path):
    export(dataset, tmp_path / "cvat", "cvat")
    tree = ElementTree.parse(tmp_path / "cvat" / "annotations.xml")  # noqa: S314 - our own
    images = tree.findall("image")
    assert [image.get("name") for image in images] == ["0.png", "1.png"]
    box = images[1].find("box")
    assert [box.get(name) for name in ("label", "xtl", "ybr")] == ["dog", "20.00", "50.00"]
    assert images[1].find("polygon").get("points") == "20.00,10.00;40.00,10.00;40.00,30.00"
    assert len(images[0].findall("polygon")) == 3  # a quad box and two outlines


def test_every_format_of_the_command_line_is_there():
    from arno.cli.dataset.making import _FORMATS

    assert tuple(EXPORTERS) == _FORMATS
