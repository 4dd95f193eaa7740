"""Doubts about labels go to the tools where people correct them, and what these say comes back."""

from __future__ import annotations

import json

import pytest
from arno.data_engine.doubts import Doubt, doubts_by_image, write_doubts
from arno.data_engine.exports import export
from arno.data_engine.imports import open_foreign
from arno.data_engine.imports.images import import_images
from arno.data_engine.view import write_view
from arno.dataset import Dataset, DatasetWriter, Manifest
from arno.dataset.shards import ShardFormat
from PIL import Image
from support.annotated import record, region, text

BOX = (20.0, 10.0, 60.0, 50.0)
MISSED = (100.0, 10.0, 140.0, 50.0)
WORDS = "A dog </script><b>here</b>."


@pytest.fixture
def work(tmp_path):
    """Three images; of the last a label is swapped and a thing overlooked."""
    folder = tmp_path / "labels"
    with DatasetWriter(folder, Manifest(format=ShardFormat.JSONL)) as writer:
        for at in range(3):
            said = region("dog", *BOX, score=0.9 - at / 10, agreement=1 - at / 4)
            writer.write(record(at, regions=(said,), texts=(text(WORDS),)))
            Image.new("RGB", (200, 100), "navy").save(folder / f"{at}.png")
    doubts = [
        Doubt("image-2", "overlooked", 0.01, "cat", MISSED),
        Doubt("image-2", "swapped", 0.25, "dog", BOX),
        Doubt("image-0", "badly placed", 0.5, "dog", BOX),
    ]
    assert write_doubts(Dataset(folder), doubts, tmp_path / "work", images_max=2) == 2
    return Dataset(tmp_path / "work")


def back(written: str, out):
    import_images(open_foreign(written), out, annotator="people", form=ShardFormat.JSONL)
    return {
        one.image_id: [(part.text, tuple(round(side, 2) for side in part.bounds))
                       for part in one.regions]
        for one in Dataset(out)
    }  # fmt: skip


def test_label_studio_shows_the_likeliest_first_with_what_is_overlooked(work, tmp_path):
    export(work, tmp_path / "studio", "label-studio")
    tasks = json.loads((tmp_path / "studio" / "tasks.json").read_text())
    assert [task["data"]["image_id"] for task in tasks] == ["image-2", "image-0"]
    assert tasks[0]["data"]["doubts"] == "overlooked: cat (0.01)\nswapped: dog (0.25)"
    drawn = [one["value"]["rectanglelabels"] for one in tasks[0]["predictions"][0]["result"]]
    assert drawn == [["dog"], ["cat"]]
    assert 'value="$doubts"' in (tmp_path / "studio" / "config.xml").read_text()


def test_what_nobody_accepted_does_not_come_back_from_label_studio(work, tmp_path):
    export(work, tmp_path / "studio", "label-studio")
    file = tmp_path / "studio" / "tasks.json"
    assert back(f"label-studio:{file}", tmp_path / "one")["image-2"] == [("dog", BOX)]
    tasks = json.loads(file.read_text())
    tasks[0]["annotations"] = [{"result": tasks[0]["predictions"][0]["result"]}]
    file.write_text(json.dumps(tasks))
    accepted = back(f"label-studio:{file}", tmp_path / "two")
    assert accepted["image-2"] == [("dog", BOX), ("cat", MISSED)]


def test_fiftyone_has_doubts_as_attributes_and_what_was_accepted_comes_back(work, tmp_path):
    export(work, tmp_path / "fiftyone", "fiftyone")
    file = tmp_path / "fiftyone" / "labels.json"
    labels = json.loads(file.read_text())
    found = labels["labels"][str(work.image_path(work[1]).resolve())]
    assert [(one["label"], one["attributes"]["doubt"]) for one in found] == [
        ("dog", "swapped"),
        ("cat", "overlooked"),
    ]
    assert back(f"fiftyone:{tmp_path}/fiftyone", tmp_path / "one")["image-2"] == [("dog", BOX)]
    del found[1]["attributes"]["doubt"]
    file.write_text(json.dumps(labels))
    accepted = back(f"fiftyone:{tmp_path}/fiftyone", tmp_path / "two")
    assert accepted["image-2"] == [("dog", BOX), ("cat", MISSED)]


def shown(path):
    page = path.read_text()
    start = page.index('type="application/json">') + len('type="application/json">')
    return page, json.loads(page[start : page.index("</script>", start)])


@pytest.mark.parametrize(
    ("sort", "first"), [("doubt", "image-2"), ("position", "image-0"), ("margin", "image-2")]
)
def test_view_shows_the_first_of_its_order(work, tmp_path, sort, first):
    assert write_view(work, tmp_path / "view.html", sort=sort, count=1) == 1
    _, records = shown(tmp_path / "view.html")
    assert [one["id"] for one in records] == [first]


def test_view_holds_pictures_and_doubts_and_fetches_nothing(work, tmp_path):
    write_view(work, tmp_path / "view.html", sort="disagreement", count=9)
    page, records = shown(tmp_path / "view.html")
    assert [one["id"] for one in records] == ["image-2", "image-0"]
    kinds = [(one["kind"], one["text"], one["doubt"]) for one in records[0]["items"]]
    assert kinds == [
        ("brief", WORDS, ""),
        ("category", "dog", "swapped (0.25)"),
        ("category", "cat", "overlooked (0.01)"),
    ]
    assert all(one["image"].startswith("data:image/jpeg;base64,") for one in records)
    assert page.count("</script>") == 2
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_folder_without_a_work_list_has_no_doubts(tmp_path):
    assert doubts_by_image(tmp_path) == {}
