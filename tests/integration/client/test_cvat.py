"""CVAT's automatic annotation, as `cvat-cli` calls it: its loader, its checks, its uploads."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import cvat_sdk.auto_annotation as cvataa
import pytest
from arno.api.v1 import types_pb2
from arno.client import Client
from arno.client.cvat import ArnoFunction, create
from arno.errors import InvalidFieldError
from cvat_cli._internal.common import FunctionLoader
from cvat_cli._internal.parsers import parse_function_parameter
from cvat_sdk import models
from cvat_sdk.auto_annotation import driver
from PIL import Image
from support.answers import caption, detection, region, response
from support.scripted_gateway import ScriptedGateway, scripted_gateway

STOP = types_pb2.FINISH_REASON_STOP
PICTURE = Image.new("RGB", (200, 100))


@pytest.fixture(scope="module")
def _server() -> Iterator[ScriptedGateway]:
    with scripted_gateway() as gateway:
        yield gateway


@pytest.fixture
def gateway(_server: ScriptedGateway) -> ScriptedGateway:
    _server.forget()
    return _server


@pytest.fixture
def client(gateway: ScriptedGateway) -> Iterator[Client]:
    with Client(gateway.address) as client:
        yield client


@pytest.fixture
def annotate(monkeypatch: pytest.MonkeyPatch) -> Callable[..., models.PatchedLabeledDataRequest]:
    """Annotate a task of two images as `cvat-cli` does; return what is uploaded."""

    def run(function: ArnoFunction, *names: str, kind: str, **options: Any) -> Any:
        labels = [
            models.Label(
                id=100 + number,
                name=name,
                type=kind,
                attributes=[
                    models.Attribute(
                        id=7, name="text", mutable=False, input_type="text", values=[""]
                    )
                ],
                sublabels=[],
            )
            for number, name in enumerate(names)
        ]
        samples = [
            SimpleNamespace(
                frame_index=index,
                frame_name=f"{index}.png",
                media=SimpleNamespace(load_image=lambda: PICTURE),
            )
            for index in (0, 1)
        ]
        dataset = SimpleNamespace(labels=labels, samples=samples)
        # What it reads from a CVAT server; all else is CVAT's own.
        monkeypatch.setattr(driver, "TaskDataset", lambda *_, **__: dataset)
        uploads: list[Any] = []
        api = SimpleNamespace(
            partial_update_annotations=lambda *_, patched_labeled_data_request: uploads.append(
                patched_labeled_data_request
            )
        )
        server = SimpleNamespace(logger=logging.getLogger("cvat"), tasks=SimpleNamespace(api=api))
        cvataa.annotate_task(server, 7, function, **options)
        (upload,) = uploads
        return upload

    return run


def test_command_line_loads_it_and_rectangles_are_uploaded(gateway, annotate):
    words = [f"address=str:{gateway.address}", "labels=str:Cat, Guide_dog", "score_min=float:0.5"]
    loader = FunctionLoader("arno.client.cvat", None, dict(map(parse_function_parameter, words)))
    function = loader.load()
    found = [region("cat", 1, 2, 30, 40, score=0.75), region("cow", 0, 0, 9, 9)]
    gateway.answer = response(detection(*found, region("guide dog", 100, 50, 201, 90, score=0.5)))
    upload = annotate(function, "Guide_dog", "Cat", kind="rectangle")
    function._client.close()
    assert [
        (shape.frame, shape.label_id, list(shape.points), shape.score, shape.source)
        for shape in upload.shapes[:2]
    ] == [(0, 101, [1, 2, 30, 40], 0.75, "auto"), (0, 100, [100, 50, 200, 90], 0.5, "auto")]
    assert [shape.frame for shape in upload.shapes] == [0, 0, 1, 1]
    (task,) = gateway.requests[0].tasks
    assert task.task == types_pb2.TASK_OPEN_VOCABULARY_DETECTION
    assert list(task.classes) == ["cat", "guide dog"]
    assert task.min_score == 0.5


def test_threshold_of_the_command_line_wins(client, gateway, annotate):
    function = ArnoFunction(client, ["cat"])
    gateway.answer = response(detection())
    upload = annotate(function, "cat", kind="rectangle", conf_threshold=0.875)
    assert (upload.shapes, upload.tags) == ([], [])
    assert gateway.requests[0].tasks[0].min_score == 0.875


def test_polygons_are_asked_for_label_by_label(client, gateway, annotate):
    outline = types_pb2.Polygon(
        points=[types_pb2.Point(x=x, y=y) for x, y in ((1, 2), (30, 2), (9, 40))]
    )
    speck = types_pb2.Polygon(points=[types_pb2.Point(x=1, y=2)])
    mask = types_pb2.Region(polygons=types_pb2.Polygons(polygons=[outline, speck]), score=0.5)
    empty = types_pb2.SegmentationAnswer()
    answers = [empty, types_pb2.SegmentationAnswer(regions=[mask])]
    gateway.answer = response(
        *(
            types_pb2.TaskResult(
                id=str(number),
                task=types_pb2.TASK_REFERRING_EXPRESSION_SEGMENTATION,
                answer=types_pb2.Answer(finish_reason=STOP, segmentation=answer),
            )
            for number, answer in enumerate(answers)
        )
    )
    function = ArnoFunction(client, ["cat", "dog"], shape="polygon")
    upload = annotate(function, "cat", "dog", kind="polygon")
    first = upload.shapes[0]
    assert (first.label_id, first.type.value) == (101, "polygon")
    assert first.points == [1, 2, 30, 2, 9, 40]
    assert [task.text for task in gateway.requests[0].tasks] == ["cat", "dog"]


def test_texts_are_attributes_of_their_places(client, gateway, annotate):
    quad = types_pb2.QuadBox(
        points=[types_pb2.Point(x=x, y=y) for x, y in ((20, 10), (60, 12), (60, 22), (20, 20))]
    )
    word = types_pb2.Region(label="EXIT", quad_box=quad)
    answer = types_pb2.Answer(finish_reason=STOP, ocr=types_pb2.OcrAnswer(regions=[word]))
    gateway.answer = response(
        types_pb2.TaskResult(id="0", task=types_pb2.TASK_OCR_WITH_REGION, answer=answer)
    )
    upload = annotate(ArnoFunction(client, ["sign"], shape="text"), "sign", kind="polygon")
    first = upload.shapes[0]
    assert first.points == [20, 10, 60, 12, 60, 22, 20, 20]
    assert [(one.spec_id, one.value) for one in first.attributes] == [(7, "EXIT")]


def test_whole_images_get_the_likeliest_label(client, gateway, annotate):
    judged = caption("")
    for posterior in (0.25, 0.75):
        judged.answer.candidates.add(posterior=posterior, answer=caption("day").answer)
    gateway.answer = response(judged)
    function = ArnoFunction(client, ["day", "night"], shape="tag")
    upload = annotate(function, "day", "night", kind="tag")
    assert [(tag.frame, tag.label_id) for tag in upload.tags] == [(0, 101), (1, 101)]
    assert annotate(function, "day", "night", kind="tag", conf_threshold=0.9).tags == []


def test_labels_of_another_kind_are_cvats_to_refuse(client, annotate):
    with pytest.raises(cvataa.BadFunctionError, match="'rectangle' in the function"):
        annotate(ArnoFunction(client, ["cat"]), "cat", kind="polygon")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"labels": "cat", "shape": "circle"}, "shape: unknown; allowed: rectangle, polygon"),
        ({"labels": " , "}, "labels: not so many; allowed: 1 or more"),
        ({"labels": "a,b", "shape": "text"}, "labels: not so many; allowed: one for texts"),
    ],
)
def test_wrong_parameters_are_named(given, said):
    with pytest.raises(InvalidFieldError, match=said):
        create(**given)


def test_it_runs_without_torch():
    code = "import arno.client.cvat, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
