"""Results with every kind of region, as `Client.infer` and `arno.load` return them."""

from __future__ import annotations

from typing import Any

from arno.client import ImageDescription, InferResult, Model, TaskResult
from arno.errors import EngineError
from arno.vocabulary import (
    Answer,
    AnswerValue,
    Box,
    DetectionAnswer,
    FinishReason,
    OcrAnswer,
    Point,
    Polygon,
    QuadBox,
    Region,
    SegmentationAnswer,
    Task,
    TextAnswer,
)
from arno.vocabulary.wire_results import response_to_wire

IMAGE = ImageDescription(200, 100, "image/png", "0" * 64)
MODEL = Model("arno-tiny", "f" * 64, "float32")
QUAD = QuadBox((Point(10, 10), Point(50, 12), Point(49, 30), Point(9, 28)))
TRIANGLE = Polygon((Point(100, 20), Point(140, 20), Point(120, 60)))
SQUARE = Polygon((Point(150, 50), Point(170, 50), Point(170, 70), Point(150, 70)))


def answered(
    task: Task, value: AnswerValue, *, id: str = "", score: float | None = 0.8, raw_text: str = ""
) -> TaskResult:
    """A task with an answer."""
    answer = Answer(value, score, FinishReason.STOP, raw_text, 7)
    return TaskResult(id or task.lower(), task, "", None, answer)


def objects(*regions: Region) -> TaskResult:
    return answered(Task.OD, DetectionAnswer(regions))


def cat_and_dog() -> TaskResult:
    """A cat at 20, 10, 60, 50 and a dog whose box the model wrote the wrong way round."""
    return objects(
        Region("dog", Box(180, 90, 100, 40), score=None),
        Region("cat", Box(20, 10, 60, 50), score=0.9, label_score=0.95, location_score=0.94),
    )


def words() -> TaskResult:
    return answered(Task.OCR_WITH_REGION, OcrAnswer((Region("STOP", QUAD, score=0.7),)))


def masks() -> TaskResult:
    """One region of two parts."""
    region = Region("", (TRIANGLE, SQUARE), score=0.6)
    return answered(Task.REGION_TO_SEGMENTATION, SegmentationAnswer((region,)))


def caption(text: str = "a cat and a dog") -> TaskResult:
    return answered(Task.CAPTION, TextAnswer(text), raw_text=f"</s><s>{text}</s>")


def failed() -> TaskResult:
    return TaskResult("ocr", Task.OCR, "", None, EngineError("broke"))


def result_of(*tasks: TaskResult, image: Any = IMAGE, source: Any = None) -> InferResult:
    message = response_to_wire(tasks, image, MODEL)
    return InferResult("job-1", tasks, image, MODEL, message, source)
