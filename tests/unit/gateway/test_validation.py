"""One case for each field: what is refused, what it is called, and what is let through."""

from __future__ import annotations

import pytest
from arno.api.v1 import types_pb2 as pb
from arno.errors import InvalidFieldError, InvalidImageError, LimitExceededError
from arno.gateway.settings import RequestLimits
from arno.gateway.task_validation import parse_tasks
from arno.gateway.validation import CheckedRequest, check_request
from arno.vocabulary import Lane
from arno.vocabulary.wire import lane_from_wire, spec_to_wire
from support import images
from support.builders import wire_box, wire_task

LIMITS = RequestLimits(
    image_bytes_max=10_000,
    image_pixels_max=100_000,
    tasks_max=4,
    text_bytes_max=20,
    classes_max=3,
    candidates_max=3,
    candidates_bytes_max=40,
)


WHOLE = wire_box(0, 0, 64, 48)
CAPTION = wire_task("CAPTION", id="c")
OBJECTS = wire_task("OD", id="o")

BAD_TASKS = {
    "no tasks": ([], "tasks"),
    "an unspecified task": ([pb.TaskSpec()], "tasks[0].task"),
    "an unknown task": ([pb.TaskSpec(task=99)], "tasks[0].task"),
    "an id with a dot": ([wire_task("OD", id="a.b")], "tasks[0].id"),
    "an id of 65 letters": ([wire_task("OD", id="a" * 65)], "tasks[0].id"),
    "two equal ids": ([OBJECTS, OBJECTS], "tasks[1].id"),
    "an id equal to a default id": ([wire_task("OD", id="1"), wire_task("OD")], "tasks[1].id"),
    "text where none is taken": ([CAPTION, wire_task("OD", text="x")], "tasks[1].text"),
    "no text where some is needed": ([wire_task("PROMPT")], "tasks[0].text"),
    "blank text": ([wire_task("PROMPT", text=" \n")], "tasks[0].text"),
    "classes where none are taken": ([wire_task("OD", classes=["cat"])], "tasks[0].classes"),
    "text and classes": (
        [wire_task("OPEN_VOCABULARY_DETECTION", text="a", classes=["b"])],
        "tasks[0].classes",
    ),
    "a blank class": (
        [wire_task("OPEN_VOCABULARY_DETECTION", classes=["a", ""])],
        "tasks[0].classes[1]",
    ),
    "no region": ([wire_task("REGION_TO_OCR")], "tasks[0].region"),
    "a region where none is taken": ([wire_task("OD", region=WHOLE)], "tasks[0].region"),
    "an inverted region": (
        [wire_task("REGION_TO_OCR", region=wire_box(9, 0, 1, 9))],
        "tasks[0].region",
    ),
    "an empty region": (
        [wire_task("REGION_TO_OCR", region=wire_box(9, 0, 9, 9))],
        "tasks[0].region",
    ),
    "a region outside": (
        [wire_task("REGION_TO_OCR", region=wire_box(0, 0, 65, 9))],
        "tasks[0].region",
    ),
    "a region that is no number": (
        [wire_task("REGION_TO_OCR", region=wire_box(0, 0, float("nan"), 9))],
        "tasks[0].region",
    ),
    "no beams": (
        [wire_task("OD", options=pb.GenerationOptions(num_beams=0))],
        "tasks[0].options.num_beams",
    ),
    "nine beams": (
        [wire_task("OD", options=pb.GenerationOptions(num_beams=9))],
        "tasks[0].options.num_beams",
    ),
    "one token": (
        [wire_task("OD", options=pb.GenerationOptions(max_new_tokens=1))],
        "tasks[0].options.max_new_tokens",
    ),
    "a negative least score": ([wire_task("OD", min_score=-0.1)], "tasks[0].min_score"),
    "a least score above one": ([wire_task("OD", min_score=1.1)], "tasks[0].min_score"),
    "a least score that is no number": (
        [wire_task("OD", min_score=float("nan"))],
        "tasks[0].min_score",
    ),
    "a candidate of another task": (
        [wire_task("CAPTION", candidates=[pb.Candidate(regions=[pb.Region(box=WHOLE)])])],
        "tasks[0].candidates[0].regions[0]",
    ),
    "a candidate region without a shape": (
        [wire_task("OD", candidates=[pb.Candidate(), pb.Candidate(regions=[pb.Region()])])],
        "tasks[0].candidates[1].regions",
    ),
    "following no task": ([wire_task("PROMPT", input_from="x")], "tasks[0].input_from"),
    "following itself": ([wire_task("PROMPT", id="x", input_from="x")], "tasks[0].input_from"),
    "following a later task": (
        [wire_task("PROMPT", input_from="c"), CAPTION],
        "tasks[0].input_from",
    ),
    "following without taking input": (
        [CAPTION, wire_task("OD", input_from="c")],
        "tasks[1].input_from",
    ),
    "a region from a caption": (
        [CAPTION, wire_task("REGION_TO_OCR", input_from="c")],
        "tasks[1].input_from",
    ),
    "a text from boxes": ([OBJECTS, wire_task("PROMPT", input_from="o")], "tasks[1].input_from"),
    "a text beside input_from": (
        [CAPTION, wire_task("PROMPT", input_from="c", text="x")],
        "tasks[1].text",
    ),
    "a region beside input_from": (
        [OBJECTS, wire_task("REGION_TO_OCR", input_from="o", region=WHOLE)],
        "tasks[1].region",
    ),
    "fan_out_max without input_from": ([wire_task("OD", fan_out_max=2)], "tasks[0].fan_out_max"),
    "fan_out_max out of range": (
        [OBJECTS, wire_task("REGION_TO_OCR", input_from="o", fan_out_max=65)],
        "tasks[1].fan_out_max",
    ),
}

TOO_LARGE_TASKS = {
    "too many tasks": ([wire_task("OD")] * 5, "tasks"),
    "text too long in bytes though not in letters": (
        [wire_task("PROMPT", text="ä" * 11)],
        "tasks[0].text",
    ),
    "too many classes": (
        [wire_task("OPEN_VOCABULARY_DETECTION", classes=["a"] * 4)],
        "tasks[0].classes",
    ),
    "too many candidates": (
        [wire_task("CAPTION", candidates=[pb.Candidate(text="a")] * 4)],
        "tasks[0].candidates",
    ),
    "candidates too large together": (
        [wire_task("CAPTION", candidates=[pb.Candidate(text="a" * 21)] * 2)],
        "tasks[0].candidates",
    ),
    "classes too long together": (
        [wire_task("OPEN_VOCABULARY_DETECTION", classes=["a" * 11, "b" * 11])],
        "tasks[0].classes",
    ),
}

BAD_IMAGES = {
    "no bytes": (b"", InvalidImageError),
    "text": (b"hello", InvalidImageError),
    "a header cut off": (images.png()[:20], InvalidImageError),
    "too many bytes": (images.png() + bytes(10_000), LimitExceededError),
    "too many pixels": (images.png_bomb(1000, 101), LimitExceededError),
}

GOOD_TASKS = {
    "a text": [wire_task("PROMPT", text="what is it?")],
    "classes": [wire_task("CAPTION_TO_PHRASE_GROUNDING", classes=["cat", "dog"])],
    "the whole image as a region": [wire_task("REGION_TO_OCR", region=WHOLE)],
    "a caption that is grounded": [
        CAPTION,
        wire_task("CAPTION_TO_PHRASE_GROUNDING", input_from="c"),
    ],
    "each object described": [
        OBJECTS,
        wire_task("REGION_TO_DESCRIPTION", input_from="o", fan_out_max=8),
    ],
    "a region asked about twice": [
        wire_task("REGION_TO_OCR", id="r", region=WHOLE),
        wire_task("REGION_TO_CATEGORY", input_from="r"),
    ],
    "more tokens than the model has positions": [
        wire_task("OD", options=pb.GenerationOptions(max_new_tokens=100_000, num_beams=8))
    ],
}


def checked(content: bytes, tasks: list[pb.TaskSpec]) -> CheckedRequest:
    return check_request(content, parse_tasks(tasks, limits=LIMITS), limits=LIMITS)


@pytest.mark.parametrize(("tasks", "field"), BAD_TASKS.values(), ids=BAD_TASKS.keys())
def test_bad_task_is_refused_naming_its_field(tasks, field):
    with pytest.raises(InvalidFieldError) as refused:
        checked(images.png(), tasks)
    assert refused.value.metadata["field"] == field
    assert type(refused.value) is InvalidFieldError


@pytest.mark.parametrize(("tasks", "field"), TOO_LARGE_TASKS.values(), ids=TOO_LARGE_TASKS.keys())
def test_task_above_a_limit_is_refused_naming_limit_and_what_was_sent(tasks, field):
    with pytest.raises(LimitExceededError) as refused:
        checked(images.png(), tasks)
    assert refused.value.metadata.keys() == {"field", "problem", "limit", "sent"}
    assert refused.value.metadata["field"] == field


@pytest.mark.parametrize(("content", "kind"), BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_bad_image_is_refused_by_its_header(content, kind):
    with pytest.raises(kind) as refused:
        checked(content, [CAPTION])
    assert refused.value.metadata["field"] == "image.content"


@pytest.mark.parametrize("tasks", GOOD_TASKS.values(), ids=GOOD_TASKS.keys())
def test_good_tasks_pass_unchanged_but_for_their_ids(tasks):
    request = checked(images.png(), tasks)
    for index, (before, after) in enumerate(zip(tasks, request.tasks, strict=True)):
        assert after.id == (before.id or str(index))
        expected = pb.TaskSpec()
        expected.CopyFrom(before)
        expected.id = after.id
        assert spec_to_wire(after) == expected
    assert request.image.mime_type == "image/png"


@pytest.mark.parametrize("lane", Lane)
def test_every_lane_of_the_api_is_one_of_the_bus(lane):
    number = pb.Lane.Value(f"LANE_{lane.upper()}")
    assert lane_from_wire(number, default=Lane.BATCH) is lane


def test_lane_left_open_is_the_default_and_an_unknown_one_is_refused():
    assert lane_from_wire(0, default=Lane.STREAM) is Lane.STREAM
    with pytest.raises(InvalidFieldError, match="lane: no such lane"):
        lane_from_wire(17, default=Lane.STREAM)
