"""A line of data is a sample, or an error that names file, line and field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from arno.api.v1 import vision_pb2
from arno.client.export import json_lines
from arno.errors import InvalidFieldError
from arno.training.data import Sample, open_data
from arno.vocabulary import (
    Answer,
    Box,
    DetectionAnswer,
    FinishReason,
    GroundingAnswer,
    OcrAnswer,
    Polygon,
    QuadBox,
    Region,
    SegmentationAnswer,
    Task,
    TextAnswer,
)
from arno.vocabulary.wire import answer_to_wire, task_to_wire
from arno.vocabulary.wire_results import infer_result
from PIL import Image

WIDTH, HEIGHT = 100, 80
BOX = [10, 20, 30.5, 40]
SIDES = {"x0": 10, "y0": 20, "x1": 30.5, "y1": 40}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (WIDTH, HEIGHT), "red").save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("not an image")
    return tmp_path


def read(folder: Path, **line: object) -> Sample:
    path = folder / "boxes.jsonl"
    path.write_text(json.dumps({"file": "a.png", **line}) + "\n")
    (sample,) = open_data(str(path))
    return sample


def test_short_form_of_a_detection_is_read(folder):
    sample = read(folder, task="OD", answer=[{"label": "cat", "box": BOX}])
    assert sample.answer == DetectionAnswer((Region("cat", Box(*BOX)),))
    assert sample.spec.task is Task.OD
    assert (sample.size.width_px, sample.size.height_px) == (WIDTH, HEIGHT)
    assert sample.open_image().size == (WIDTH, HEIGHT)
    assert sample.sample_id == f"{folder}/boxes.jsonl:1"


def test_short_form_of_a_text_with_its_region_is_read(folder):
    sample = read(folder, task="REGION_TO_CATEGORY", region=BOX, answer="cat")
    assert sample.spec.region == Box(*BOX)
    assert sample.answer == TextAnswer("cat")


def test_short_form_of_a_mask_and_of_rotated_text_are_read(folder):
    outline = [[0, 0, 10, 0, 10, 10]]
    mask = read(
        folder,
        task="REFERRING_EXPRESSION_SEGMENTATION",
        text="a cat",
        answer=[{"polygons": outline}],
    ).answer
    assert isinstance(mask, SegmentationAnswer)
    (shape,) = (region.shape for region in mask.regions)
    assert isinstance(shape, tuple)
    assert isinstance(shape[0], Polygon)
    quad = [{"label": "EXIT", "quad_box": [0, 0, 10, 0, 10, 5, 0, 5]}]
    words = read(folder, task="OCR_WITH_REGION", answer=quad).answer
    assert isinstance(words, OcrAnswer)
    assert isinstance(words.regions[0].shape, QuadBox)


def test_short_form_of_a_grounding_gathers_boxes_by_phrase(folder):
    answer = [
        {"label": "cat", "box": BOX},
        {"label": "dog", "box": BOX},
        {"label": "cat", "box": [0, 0, 5, 5]},
    ]
    sample = read(folder, task="CAPTION_TO_PHRASE_GROUNDING", classes=["cat", "dog"], answer=answer)
    assert isinstance(sample.answer, GroundingAnswer)
    assert [(p.phrase, len(p.regions)) for p in sample.answer.phrases] == [("cat", 2), ("dog", 1)]
    assert sample.spec.classes == ("cat", "dog")


def test_line_of_arno_infer_is_a_line_of_data(folder):
    regions = (Region("cat", Box(*BOX), bins=(1, 2, 3, 4), score=0.5),)
    answer = Answer(DetectionAnswer(regions), 0.5, FinishReason.STOP, "cat<loc_1>..", 7)
    response = vision_pb2.InferResponse(job_id="j")
    result = response.results.add(id="0", task=task_to_wire(Task.OD))
    result.answer.CopyFrom(answer_to_wire(answer))
    (line,) = json_lines("a.png", infer_result(response))
    (folder / "answers.jsonl").write_text(line)
    (sample,) = open_data(str(folder / "answers.jsonl"))
    assert sample.answer == DetectionAnswer(regions)


DETECTION = {"task": "OD", "answer": [{"label": "cat", "box": BOX}]}
REGION = {"task": "REGION_TO_CATEGORY", "answer": "cat"}


def boxed(*sides: float, label: str = "cat") -> dict[str, object]:
    return {"task": "OD", "answer": [{"label": label, "box": list(sides)}]}


@pytest.mark.parametrize(
    ("line", "field", "problem"),
    [
        ({**DETECTION, "file": "missing.png"}, "file", "cannot be read"),
        ({**DETECTION, "file": "text.png"}, "file", "not an image"),
        ({**DETECTION, "file": "a\0.png"}, "file", "cannot be read"),
        ({**DETECTION, "file": "\ud800.png"}, "file", "cannot be read"),
        ({"task": "CAPTION", "answer": "a \ud800 cat"}, "answer", ""),
        ({**DETECTION, "file": ""}, "file", "needs the path"),
        ({**DETECTION, "tesk": "OD"}, "tesk", "unknown"),
        ({**DETECTION, "task": "ODD"}, "task", "not a task"),
        ({"task": "OD"}, "answer", "missing"),
        ({"task": "OD", "answer": "cat"}, "answer", "another kind"),
        ({"task": "CAPTION", "answer": " "}, "answer.text", "blank"),
        ({**REGION}, "region", "one region"),
        ({**REGION, "region": [0, 0, 5]}, "region", "4 numbers"),
        ({**REGION, "region": [0, 0, 500, 5]}, "region", "not wholly inside"),
        ({**DETECTION, "text": "x"}, "text", "takes no text"),
        (boxed(0, 0, 5, 500), "answer.detection.regions[0]", "not inside the image"),
        (boxed(5, 0, 5, 50), "answer.detection.regions[0]", "empty or inverted"),
        (boxed(9, 0, 5, 50), "answer.detection.regions[0]", "empty or inverted"),
        (boxed(0, 0, float("nan"), 5), "answer[0].box", "finite"),
        (
            {"task": "OD", "answer": [{"label": "cat", "box": {**SIDES, "x1": "NaN"}}]},
            "answer.detection.regions[0]",
            "finite",
        ),
        (boxed(0, 0, 5, 5, label=" "), "answer.detection.regions[0].label", "blank"),
        (boxed(0, 0, 5, 5, label="<loc_3>"), "answer.detection", "location tokens"),
        ({"task": "OD", "answer": [{"label": "x"}]}, "answer", "needs a box"),
        (
            {"task": "OD", "answer": [{"label": "x", "bax": 3}]},
            "answer.detection.regions[0]",
            "bax",
        ),
        (
            {"task": "REGION_TO_SEGMENTATION", "region": BOX, "answer": [{"polygons": [[1, 2]]}]},
            "answer.segmentation.regions[0]",
            "three points",
        ),
        ({"results": []}, "results", "exactly one"),
        ({"results": [{"task": "OD", "error": {}}]}, "results[0]", "failed"),
    ],
)
def test_broken_line_names_file_line_and_field(folder, line, field, problem):
    path = folder / "boxes.jsonl"
    good = json.dumps({"file": "a.png", **DETECTION})
    path.write_text("\n".join([good, "", json.dumps({"file": "a.png", **line}), good]))
    source = open_data(str(path))
    assert source[0].answer == source[2].answer
    with pytest.raises(InvalidFieldError) as caught:
        _ = source[1]
    assert caught.value.field.startswith(f"{path}:3: {field}")
    assert problem in caught.value.problem


def test_line_that_is_no_json_is_named(folder):
    (folder / "boxes.jsonl").write_text('{"file": ')
    with pytest.raises(InvalidFieldError, match=r"boxes\.jsonl:1: line: not JSON"):
        _ = open_data(str(folder / "boxes.jsonl"))[0]


def test_image_that_is_cut_off_is_named_when_it_is_opened(folder):
    sample = read(folder, **{**DETECTION, "file": "cut.png"})
    with pytest.raises(InvalidFieldError, match=r"boxes\.jsonl:1: file .*cut\.png"):
        sample.open_image()


def test_tasks_choose_lines_and_keep_broken_ones(folder):
    lines = [DETECTION, {"task": "CAPTION", "answer": "A cat."}]
    path = folder / "both.jsonl"
    path.write_text("\n".join(json.dumps({"file": "a.png", **one}) for one in lines) + "\nbroken")
    source = open_data(str(path), tasks=[Task.CAPTION])
    assert len(source) == 2
    assert source[0].spec.task is Task.CAPTION
    with pytest.raises(InvalidFieldError):
        _ = source[1]


def test_sources_are_joined_in_order(folder):
    read(folder, **DETECTION)
    name = str(folder / "boxes.jsonl")
    source = open_data(f"{name}; {name}")
    assert [sample.sample_id for sample in source] == [f"{name}:1"] * 2
    assert source.digest != open_data(name).digest


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("boxes.txt", "not the name of data"),
        ("missing.jsonl", "cannot be read"),
        ("world:n=0", "not a whole number"),
        ("world:seed=x", "not a whole number"),
        ("world:sed=1", "unknown option"),
        ("world:tasks=ODD", "not a task"),
        ("world:world=moon", "no such world"),
    ],
)
def test_name_that_cannot_be_opened_says_why(name, problem):
    with pytest.raises(InvalidFieldError, match=problem):
        open_data(name)
