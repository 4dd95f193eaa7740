import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import supervision as sv
from arno.errors import EngineError, InvalidFieldError
from arno.vocabulary import Box, Region
from PIL import Image
from support.results import (
    caption,
    cat_and_dog,
    failed,
    masks,
    objects,
    result_of,
    words,
)


def test_supervision_has_scores_numbers_and_names():
    found = result_of(cat_and_dog(), caption(), failed()).to_supervision()
    assert found.xyxy.tolist() == [[100, 40, 180, 90], [20, 10, 60, 50]]
    assert found.class_id.tolist() == [1, 0]
    assert found.data["class_name"].tolist() == ["dog", "cat"]
    assert found.data["task"].tolist() == ["OD", "OD"]
    assert np.isnan(found.confidence[0])
    assert found.confidence[1] == pytest.approx(0.9)
    assert found.mask is None
    # As its users write it.
    assert found[found.confidence > 0.5].data["class_name"].tolist() == ["cat"]


def test_supervision_numbers_labels_by_the_given_classes():
    found = result_of(cat_and_dog()).to_supervision("OD", classes=["person", "cat"])
    assert found.class_id.tolist() == [-1, 1]


def test_supervision_has_masks_of_outlines_and_corners_of_words():
    found = result_of(masks(), words(), objects(Region("cat", Box(0, 0, 9, 9)))).to_supervision()
    assert found.mask.shape == (3, 100, 200)
    inside = [[mask[30, 120], mask[60, 160], mask[20, 30], mask[5, 5]] for mask in found.mask]
    assert inside == [
        [True, True, False, False],
        [False, False, True, False],
        [False, False, False, True],
    ]
    assert found.data["xyxyxyxy"].shape == (3, 4, 2)
    assert found.data["xyxyxyxy"][1].tolist() == [[10, 10], [50, 12], [49, 30], [9, 28]]


def test_supervision_draws_and_counts_what_was_made():
    found = result_of(masks(), cat_and_dog()).to_supervision()
    scene = np.zeros((100, 200, 3), dtype=np.uint8)
    drawn = sv.MaskAnnotator().annotate(scene.copy(), found)
    drawn = sv.BoxAnnotator().annotate(drawn, found)
    assert drawn.any()
    assert len(found.with_nms(threshold=0.5)) <= len(found) == 3
    assert sv.Detections.merge([found, found]).class_id.shape == (6,)


def test_supervision_of_nothing_is_empty():
    found = result_of(objects(), caption()).to_supervision()
    assert len(found) == 0
    assert found.xyxy.shape == (0, 4)


@pytest.mark.parametrize(
    ("task", "boxes", "names"),
    [
        (cat_and_dog(), [[100, 40, 180, 90], [20, 10, 60, 50]], ["dog", "cat"]),
        (words(), [[9, 10, 50, 30]], ["STOP"]),
        (masks(), [[100, 20, 170, 70]], None),
    ],
)
def test_dictionary_of_florence_is_read_by_supervision(task, boxes, names):
    document = result_of(task, caption()).to_florence_dict(task.id)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        found = sv.Detections.from_vlm(sv.VLM.FLORENCE_2, document, resolution_wh=(200, 100))
    assert found.xyxy.tolist() == boxes
    assert names is None or found.data["class_name"].tolist() == names


def test_dictionary_of_florence_has_a_key_a_task():
    document = result_of(cat_and_dog(), caption(), failed()).to_florence_dict()
    assert list(document) == ["<OD>", "<CAPTION>"]
    assert document["<CAPTION>"] == "a cat and a dog"
    assert document["<OD>"]["labels"] == ["dog", "cat"]


# pycocotools asks numpy in a way that numpy 2 deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_is_read_by_its_own_package(tmp_path):
    from pycocotools.coco import COCO

    result = result_of(cat_and_dog(), masks(), source=tmp_path / "a.png")
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(result.to_coco(image_id=7)))
    read = COCO(str(path))
    assert [image["file_name"] for image in read.loadImgs([7])] == ["a.png"]
    found = read.loadAnns(read.getAnnIds(imgIds=[7]))
    assert [one["bbox"] for one in found] == [
        [100, 40, 80, 50],
        [20, 10, 40, 40],
        [100, 20, 70, 50],
    ]
    assert [read.loadCats([one["category_id"]])[0]["name"] for one in found] == ["dog", "cat", ""]
    assert [one["area"] for one in found] == [4000, 1600, 1200]
    assert read.annToMask(found[2])[30, 120] == 1
    assert "score" not in found[0]


def test_coco_leaves_out_labels_that_are_no_category():
    document = result_of(cat_and_dog()).to_coco(classes=["person", "cat"], file_name="b.png")
    assert document["categories"] == [{"id": 1, "name": "person"}, {"id": 2, "name": "cat"}]
    assert [one["category_id"] for one in document["annotations"]] == [2]
    assert document["images"][0]["file_name"] == "b.png"


def test_yolo_has_a_line_a_region_in_parts_of_the_sides():
    text, names = result_of(cat_and_dog()).to_yolo()
    assert names == ["cat", "dog"]
    assert text == "1 0.7 0.65 0.4 0.5\n0 0.2 0.3 0.2 0.4\n"
    text, names = result_of(words()).to_yolo()
    assert text == "0 0.05 0.1 0.25 0.12 0.245 0.3 0.045 0.28\n"


def test_yolo_keeps_numbers_inside_the_image():
    outside = objects(Region("cat", Box(-20, 10, 260, 150)))
    assert result_of(outside).to_yolo().text == "0 0.5 0.55 1 0.9\n"


def test_yolo_is_read_by_supervision(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (200, 100)).save(tmp_path / "images" / "a.png")
    text, names = result_of(cat_and_dog()).to_yolo()
    (tmp_path / "labels" / "a.txt").write_text(text)
    (tmp_path / "data.yaml").write_text(json.dumps({"names": names}))
    read = sv.DetectionDataset.from_yolo(
        str(tmp_path / "images"), str(tmp_path / "labels"), str(tmp_path / "data.yaml")
    )
    ((_, _, found),) = read
    assert [read.classes[number] for number in found.class_id] == ["dog", "cat"]
    assert np.allclose(found.xyxy, [[100, 40, 180, 90], [20, 10, 60, 50]], atol=0.01)


def test_fiftyone_has_a_field_of_labels_a_task():
    sample = result_of(cat_and_dog(), masks(), caption(), failed(), source="x/a.png").to_fiftyone()
    assert sample["filepath"] == "a.png"
    assert sample["metadata"] == {"_cls": "ImageMetadata", "width": 200, "height": 100}
    assert sample["od"]["_cls"] == "Detections"
    dog, cat = sample["od"]["detections"]
    assert dog == {"_cls": "Detection", "label": "dog", "bounding_box": [0.5, 0.4, 0.4, 0.5]}
    assert cat["confidence"] == 0.9
    (line,) = sample["region_to_segmentation"]["polylines"]
    assert (line["closed"], line["filled"], len(line["points"])) == (True, True, 2)
    assert line["points"][1][0] == [0.75, 0.5]
    assert sample["caption"] == {
        "_cls": "Classification",
        "label": "a cat and a dog",
        "confidence": 0.8,
    }
    assert "ocr" not in sample


def test_label_studio_gets_a_task_with_a_prediction():
    document = result_of(cat_and_dog(), words(), masks(), caption()).to_label_studio(
        image_url="http://x/a.png"
    )
    assert document["data"] == {"image": "http://x/a.png"}
    (prediction,) = document["predictions"]
    assert prediction["model_version"] == "arno-tiny ffffffffffff"
    assert prediction["score"] == pytest.approx(0.8)
    entries = prediction["result"]
    assert [entry["type"] for entry in entries] == [
        *("rectanglelabels", "rectanglelabels", "polygon", "textarea"),
        *("polygonlabels", "polygonlabels", "textarea"),
    ]
    cat = entries[1]
    assert cat["value"] == {
        **{"x": 10, "y": 10, "width": 20, "height": 40, "rotation": 0},
        "rectanglelabels": ["cat"],
    }
    assert (cat["original_width"], cat["original_height"]) == (200, 100)
    # One region of words: its place, and its text.
    assert entries[2]["id"] == entries[3]["id"]
    assert entries[3]["value"]["text"] == ["STOP"]
    assert entries[6]["value"] == {"text": ["a cat and a dog"]}
    json.dumps(document)


def test_pandas_has_a_row_a_region_and_a_text():
    table = result_of(cat_and_dog(), caption(), failed()).to_pandas()
    assert table["task"].tolist() == ["OD", "OD", "CAPTION"]
    assert table["label"].tolist()[:2] == ["dog", "cat"]
    assert table.loc[1, ["x0", "y0", "x1", "y1", "score"]].tolist() == [20, 10, 60, 50, 0.9]
    assert table.loc[2, "text"] == "a cat and a dog"


def test_drawing_takes_the_image_that_was_sent_or_another(tmp_path):
    Image.new("RGB", (200, 100), "white").save(tmp_path / "a.png")
    result = result_of(cat_and_dog(), source=tmp_path / "a.png")
    assert result.draw().size == (200, 100)
    assert result.draw().getcolors(maxcolors=9999) != [(20_000, (255, 255, 255))]
    assert result.draw(Image.new("RGB", (300, 200))).size == (300, 200)
    with pytest.raises(InvalidFieldError, match=r"result\.draw\(image\)"):
        result_of(cat_and_dog()).draw()


def test_notebook_shows_the_picture_and_escaped_labels(tmp_path):
    Image.new("RGB", (2000, 1000), "white").save(tmp_path / "a.png")
    evil = objects(Region("<script>alert(1)</script>", Box(1, 2, 3, 4)))
    result = result_of(evil, failed(), source=str(tmp_path / "a.png"))
    page = result._repr_html_()
    assert "data:image/png;base64," in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "ENGINE_FAILED" in page
    assert result._repr_png_().startswith(b"\x89PNG")


def test_notebook_shows_a_table_where_the_image_is_gone():
    for source in (None, "absent.png"):
        result = result_of(cat_and_dog(), source=source)
        assert result._repr_png_() is None
        assert "<img" not in result._repr_html_()
        assert "cat" in result._repr_html_()


def test_tasks_that_the_server_counted_are_named_by_their_tasks():
    asked = (cat_and_dog(), caption(), caption())
    result = result_of(*(replace(one, id=str(number)) for number, one in enumerate(asked)))
    assert list(result.to_fiftyone()) == ["filepath", "metadata", "od", "caption", "caption_2"]
    (prediction,) = result.to_label_studio()["predictions"]
    texts = [one for one in prediction["result"] if one["type"] == "textarea"]
    assert [one["from_name"] for one in texts] == ["caption", "caption"]
    assert len({one["id"] for one in texts}) == 2


@pytest.mark.parametrize(
    "export",
    ["to_supervision", "to_coco", "to_yolo", "to_fiftyone", "to_label_studio", "to_pandas"],
)
def test_export_of_a_failed_task_raises_its_error(export):
    with pytest.raises(EngineError, match="broke"):
        getattr(result_of(cat_and_dog(), failed()), export)("ocr")


def test_export_that_needs_the_size_of_the_image_says_so():
    with pytest.raises(InvalidFieldError, match="does not say how large its image is"):
        result_of(cat_and_dog(), image=None).to_coco()
