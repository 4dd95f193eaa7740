"""The page of the worst cases: complete in one file, worst first, nothing from data as markup."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

from arno.cli.eval.worst_page import write_worst_page
from arno.errors import EngineError, InvalidImageError
from arno.training.evaluation.questions import Question, QuestionSet
from arno.training.evaluation.run import evaluate
from arno.vocabulary import Box, DetectionAnswer, Task, TextAnswer
from PIL import Image
from support.builders import box
from support.judging import GREEDY, SIZE, ScriptedAnswerer, answered, captions, question


def page(folder: Path, asked: QuestionSet, script=None) -> str:
    evaluation = evaluate(ScriptedAnswerer(script), asked, decoding=GREEDY, nouns={})
    write_worst_page(folder / "worst.html", evaluation, "photos.jsonl")
    return (folder / "worst.html").read_text()


def pictures(text: str) -> list[Image.Image]:
    found = re.findall(r"src='data:image/jpeg;base64,([^']+)'", text)
    return [Image.open(io.BytesIO(base64.b64decode(one))) for one in found]


def test_six_worst_cases_of_a_task_stand_in_order(tmp_path):
    def script(asked):
        number = int(asked.question_id[1:])
        return answered(TextAnswer(f"number {number}" if number % 2 else "x " * number))

    text = page(tmp_path, captions(20), script)
    names = re.findall(r"class='id'>(q\d+): ([\d.]+) of 1<", text)
    assert names == [(f"q{number}", "0.00") for number in (0, 2, 4, 6, 8, 10)]


def test_picture_of_the_answer_stands_beside_that_of_the_truth(tmp_path):
    true = DetectionAnswer((box("cat", 0, 0, 40, 40),))
    asked = QuestionSet((question(Task.OD, true),), "d")
    text = page(tmp_path, asked, lambda _: answered(DetectionAnswer(())))
    said, truth = pictures(text)
    assert said.getpixel((20, 0)) != truth.getpixel((20, 0))
    assert "<figcaption>the model</figcaption>" in text
    assert "<dt>said</dt><dd>(nothing)</dd><dt>true</dt><dd>cat</dd>" in text


def test_region_that_was_asked_about_is_drawn(tmp_path):
    about = question(Task.REGION_TO_CATEGORY, TextAnswer("cat"), region=Box(10, 10, 60, 60))
    (one,) = pictures(page(tmp_path, QuestionSet((about,), "d")))
    assert one.getpixel((30, 10)) != one.getpixel((80, 70))


def test_text_of_models_and_data_is_never_markup(tmp_path):
    evil = "<script>alert(1)</script>"
    asked = question(Task.PROMPT, TextAnswer(evil), text=evil, name=evil)
    text = page(tmp_path, QuestionSet((asked,), "d"), lambda _: answered(TextAnswer(f"no {evil}")))
    assert evil not in text
    assert text.count("&lt;script&gt;") == 4


def test_failed_case_and_image_that_went_away_have_their_place(tmp_path):
    def gone() -> Image.Image:
        raise InvalidImageError(field="file a.png", problem="cannot be read")

    template = question(Task.CAPTION, TextAnswer("a cat"))
    asked = Question("q", "i", gone, SIZE, template.spec, template.truths)
    text = page(tmp_path, QuestionSet((asked,), "d"), lambda _: EngineError("broke"))
    assert "file a.png: cannot be read" in text
    assert "(the model failed)" in text


def test_name_that_is_no_utf_8_is_written_as_an_escape(tmp_path):
    asked = question(Task.PROMPT, TextAnswer("x"), name="caf\udce9.jsonl:1")
    assert r"caf\udce9.jsonl:1" in page(tmp_path, QuestionSet((asked,), "d"))
