"""Questions are taken from samples: image by image, each once, broken ones left out."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from arno.errors import InvalidFieldError, InvalidImageError
from arno.training.data import open_data
from arno.training.evaluation.questions import QuestionSet, questions_of
from arno.vocabulary import Task, TextAnswer
from PIL import Image


def line(file: str, task: str = "CAPTION", **changes: object) -> dict[str, object]:
    return {"file": file, "task": task, "answer": "a cat", **changes}


def asked(folder: Path, *lines: dict[str, object], **limits: object) -> QuestionSet:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30), "red").save(folder / name)
    path = folder / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return questions_of(open_data(str(path)), **limits)


def test_several_captions_of_an_image_are_one_question_with_several_right_answers(tmp_path):
    found = asked(tmp_path, line("a.png"), line("b.png"), line("a.png", answer="a dog"))
    first, second = found.questions
    assert first.truths == (TextAnswer("a cat"), TextAnswer("a dog"))
    assert second.truths == (TextAnswer("a cat"),)
    assert first.question_id == f"{tmp_path}/data.jsonl:1"


def test_equal_questions_with_regions_for_answers_stay_apart(tmp_path):
    boxes = [line("a.png", "OD", answer=[{"label": "x", "box": [0, 0, n, 5]}]) for n in (5, 9)]
    assert len(asked(tmp_path, *boxes).questions) == 2


def test_questions_of_one_image_stand_together_in_the_order_of_the_data(tmp_path):
    lines = [line("b.png"), line("a.png"), line("b.png", "OCR"), line("a.png", "OCR")]
    found = asked(tmp_path, *lines)
    names = [(Path(one.image_id).name, one.spec.task) for one in found.questions]
    assert names == [
        ("b.png", Task.CAPTION),
        ("b.png", Task.OCR),
        ("a.png", Task.CAPTION),
        ("a.png", Task.OCR),
    ]
    assert found.image_count == 2


def test_only_some_tasks_and_images_are_asked_about(tmp_path):
    lines = [line("a.png"), line("a.png", "OCR"), line("b.png", "OCR")]
    found = asked(tmp_path, *lines, tasks=[Task.OCR], images_max=1)
    (only,) = found.questions
    assert (Path(only.image_id).name, only.spec.task) == ("a.png", Task.OCR)


def test_broken_samples_are_told_and_left_out_up_to_a_limit(tmp_path):
    broken = line("a.png", answer=" ")
    found = asked(tmp_path, broken, line("b.png"), broken, broken_max=2)
    assert [fault.field.rpartition("/")[2] for fault in found.broken] == [
        "data.jsonl:1: answer.text",
        "data.jsonl:3: answer.text",
    ]
    assert len(found.questions) == 1
    with pytest.raises(InvalidFieldError, match=r"data\.jsonl:3: answer\.text"):
        asked(tmp_path, broken, line("b.png"), broken, broken_max=1)


def test_picture_is_a_lossless_file_of_the_size_that_the_data_says(tmp_path):
    (only,) = asked(tmp_path, line("a.png")).questions
    with Image.open(io.BytesIO(only.picture())) as picture:
        assert (picture.format, picture.size) == ("PNG", (40, 30))
        assert picture.getpixel((3, 3)) == (255, 0, 0)


def test_large_picture_is_a_jpeg(tmp_path):
    found = asked(tmp_path, line("a.png"), line("large.png")).questions
    assert len(found) == 1
    Image.new("RGB", (1200, 900)).save(tmp_path / "large.png")
    _, large = asked(tmp_path, line("a.png"), line("large.png")).questions
    assert large.picture().startswith(b"\xff\xd8")


def test_image_that_was_changed_since_the_data_was_read_is_refused(tmp_path):
    (only,) = asked(tmp_path, line("a.png")).questions
    Image.new("RGB", (41, 30)).save(tmp_path / "a.png")
    with pytest.raises(InvalidImageError, match="not of the size that the data says"):
        only.picture()
