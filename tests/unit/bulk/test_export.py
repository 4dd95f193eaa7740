import errno
import json
import tarfile

import pytest
from arno.bulk import Item, Place, Record
from arno.bulk.export import Answers, ExportOptions, export
from arno.errors import ConfigurationError, InvalidFieldError
from PIL import Image
from support.bulk import open_folder
from support.results import caption, cat_and_dog, failed, result_of


@pytest.fixture
def folder(tmp_path):
    """Three images: one in a file, one in a part of a file, one with a key that leads away."""
    photo = tmp_path / "a.png"
    Image.new("RGB", (200, 100), "white").save(photo)
    content = photo.read_bytes()
    (tmp_path / "shard.tar").write_bytes(b"x" * 512 + content + b"x" * 9)
    places = {
        "deep/a.png": Place(photo),
        "shard.tar/001": Place(tmp_path / "shard.tar", 512, len(content)),
        "/../../etc/b.png": Place(photo),
    }
    folder = tmp_path / "seen"
    with open_folder(folder, shard_size=2) as kept:
        for key, place in places.items():
            record = Record.of(
                Item(key, place, {"n": 1}), result_of(cat_and_dog(), caption(), failed())
            )
            kept.keep(key, record.line())
        kept.write_shard()
    return folder


def test_coco_is_one_document_with_numbers_over_all_images(folder, tmp_path):
    from pycocotools.coco import COCO

    assert export(Answers(folder, ExportOptions()), "coco", tmp_path / "o.json") == 3
    read = COCO(str(tmp_path / "o.json"))
    names = [image["file_name"] for image in read.loadImgs(read.getImgIds())]
    assert names == ["deep/a.png", "shard.tar/001", "/../../etc/b.png"]
    found = read.loadAnns(read.getAnnIds())
    assert [one["id"] for one in found] == [1, 2, 3, 4, 5, 6]
    assert [one["image_id"] for one in found] == [1, 1, 2, 2, 3, 3]
    assert [one["name"] for one in read.loadCats(read.getCatIds())] == ["cat", "dog"]


def test_chosen_task_classes_and_scores_are_exported(folder, tmp_path):
    options = ExportOptions(task="OD", classes=["person", "cat"], min_score=0.5)
    export(Answers(folder, options), "coco", tmp_path / "o.json")
    document = json.loads((tmp_path / "o.json").read_text())
    assert [one["category_id"] for one in document["annotations"]] == [2, 2, 2]
    export(Answers(folder, ExportOptions(task="CAPTION")), "coco", tmp_path / "none.json")
    assert json.loads((tmp_path / "none.json").read_text())["annotations"] == []


def test_yolo_has_an_image_and_a_label_file_for_each_key_inside_its_folder(folder, tmp_path):
    import supervision as sv

    out = tmp_path / "yolo" / "set"
    assert export(Answers(folder, ExportOptions()), "yolo", out) == 3
    images = sorted(str(path.relative_to(out)) for path in out.rglob("*.png"))
    assert images == ["images/__/__/etc/b.png", "images/deep/a.png", "images/shard.tar/001.png"]
    labels = {path.read_text() for path in (out / "labels").rglob("*.txt")}
    assert labels == {"1 0.7 0.65 0.4 0.5\n0 0.2 0.3 0.2 0.4\n"}
    with Image.open(out / "images" / "shard.tar" / "001.png") as picture:
        assert picture.size == (200, 100)
    read = sv.DetectionDataset.from_yolo(
        str(out / "images" / "deep"), str(out / "labels" / "deep"), str(out / "data.yaml")
    )
    assert read.classes == ["cat", "dog"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "shard.tar", "seen", "yolo"}


def test_fiftyone_has_samples_with_paths_of_their_images(folder, tmp_path):
    out = tmp_path / "samples"
    assert export(Answers(folder, ExportOptions()), "fiftyone", out) == 3
    samples = json.loads((out / "samples.json").read_text())["samples"]
    assert all((out / sample["filepath"]).exists() for sample in samples)
    assert len(samples[0]["od"]["detections"]) == 2
    assert json.loads((out / "metadata.json").read_text())["media_type"] == "image"


def test_label_studio_has_a_task_an_image_with_the_prefix(folder, tmp_path):
    options = ExportOptions(image_prefix="/files/?d=")
    assert export(Answers(folder, options), "label-studio", tmp_path / "t.json") == 3
    tasks = json.loads((tmp_path / "t.json").read_text())
    assert tasks[0]["data"]["image"] == "/files/?d=deep/a.png"
    assert len(tasks[0]["predictions"][0]["result"]) == 3


def test_webdataset_is_a_source_again(folder, tmp_path):
    from arno.bulk import open_source

    assert export(Answers(folder, ExportOptions()), "webdataset", tmp_path / "wds") == 3
    (path,) = (tmp_path / "wds").iterdir()
    with tarfile.open(path) as shard:
        assert len(shard.getnames()) == 6
    item = next(iter(open_source(str(path))))
    assert item.open_image().startswith(b"\x89PNG")
    assert item.fields["json"]["key"] == "deep/a.png"
    assert item.fields["json"]["tasks"][0]["regions"][1]["box"] == [20, 10, 60, 50]


def test_place_that_is_taken_is_refused(folder, tmp_path):
    with pytest.raises(ConfigurationError, match="exists already"):
        export(Answers(folder, ExportOptions()), "coco", tmp_path / "a.png")
    with pytest.raises(ConfigurationError, match="no answer folder"):
        export(Answers(tmp_path, ExportOptions()), "coco", tmp_path / "o.json")
    assert not (tmp_path / "o.json").exists()


def test_format_with_images_refuses_those_that_are_in_no_file(tmp_path):
    with open_folder(tmp_path / "seen") as kept:
        record = Record.of(Item("v.mp4#000001", lambda: b""), result_of(cat_and_dog()))
        kept.keep(record.key, record.line())
        kept.write_shard()
    with pytest.raises(InvalidFieldError, match=r"image v\.mp4#000001: is in no file"):
        export(Answers(tmp_path / "seen", ExportOptions()), "yolo", tmp_path / "o")
    assert export(Answers(tmp_path / "seen", ExportOptions()), "coco", tmp_path / "o.json") == 1


def test_export_that_breaks_off_leaves_nothing_and_names_its_place(folder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/out'"):
        export(Answers(folder, ExportOptions()), "webdataset", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_given_classes_that_no_region_has_are_known_once_the_answers_are_exported(folder, tmp_path):
    answers = Answers(folder, ExportOptions(classes=["cat", "catt"]))
    assert export(answers, "label-studio", tmp_path / "t.json") == 3
    assert answers.unused_classes == ["catt"]
