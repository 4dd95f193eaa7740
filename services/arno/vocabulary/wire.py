"""Translate tasks and answers to and from the messages of the API.

With `wire_regions`, the one place where the two meet. Enums are matched by name, so that a task is
added to both without a table here.
"""

from collections.abc import Iterable
from typing import Final

from arno.api.v1 import types_pb2
from arno.errors import InvalidFieldError
from arno.vocabulary.answers import (
    Answer,
    AnswerValue,
    DetectionAnswer,
    GroundedPhrase,
    GroundingAnswer,
    OcrAnswer,
    SegmentationAnswer,
    TextAnswer,
)
from arno.vocabulary.finish import FinishReason
from arno.vocabulary.regions import Region
from arno.vocabulary.spec import TaskSpec
from arno.vocabulary.task import Task
from arno.vocabulary.wire_regions import (
    box_from_wire,
    box_to_wire,
    region_from_wire,
    region_to_wire,
)


def task_to_wire(task: Task) -> "types_pb2.Task.ValueType":
    """Return the API's number of a task."""
    return types_pb2.Task.Value(f"TASK_{task}")


_TASKS: Final[dict[int, Task]] = {task_to_wire(task): task for task in Task}


def task_from_wire(number: int) -> Task:
    """Return the task of a number.

    Raises:
        InvalidFieldError: The number is unspecified, or newer than this server. Not retryable.
    """
    task = _TASKS.get(number)
    if task is None:
        problem = "not a task that this server knows"
        raise InvalidFieldError(
            field="task", problem=problem, limit=", ".join(Task), sent=str(number)
        )
    return task


def finish_reason_to_wire(reason: FinishReason) -> "types_pb2.FinishReason.ValueType":
    """Return the API's number of a finish reason."""
    return types_pb2.FinishReason.Value(f"FINISH_REASON_{reason}")


def finish_reason_from_wire(number: "types_pb2.FinishReason.ValueType") -> FinishReason:
    """Return the finish reason of a number.

    Raises:
        ValueError: The number is unspecified or unknown.
    """
    return FinishReason(types_pb2.FinishReason.Name(number).removeprefix("FINISH_REASON_"))


def spec_to_wire(spec: TaskSpec) -> types_pb2.TaskSpec:
    """Return the message of a task spec."""
    message = types_pb2.TaskSpec(
        id=spec.id,
        task=task_to_wire(spec.task),
        text=spec.text,
        classes=spec.classes,
        region=None if spec.region is None else box_to_wire(spec.region),
        input_from=spec.input_from,
        fan_out_max=spec.fan_out_max,
    )
    if spec.num_beams is not None:
        message.options.num_beams = spec.num_beams
    if spec.max_new_tokens is not None:
        message.options.max_new_tokens = spec.max_new_tokens
    if spec.constrained:
        message.options.constrained = True
    return message


def spec_from_wire(message: types_pb2.TaskSpec) -> TaskSpec:
    """Return the task spec of a message; its inputs are for `check_inputs` to judge.

    Raises:
        InvalidFieldError: It names no task. Not retryable.
    """
    options = message.options
    return TaskSpec(
        task=task_from_wire(message.task),
        id=message.id,
        text=message.text,
        classes=tuple(message.classes),
        region=box_from_wire(message.region) if message.HasField("region") else None,
        num_beams=options.num_beams if options.HasField("num_beams") else None,
        max_new_tokens=options.max_new_tokens if options.HasField("max_new_tokens") else None,
        constrained=options.constrained,
        input_from=message.input_from,
        fan_out_max=message.fan_out_max if message.HasField("fan_out_max") else None,
    )


def answer_to_wire(answer: Answer) -> types_pb2.Answer:
    """Return the message of an answer, without timings: they are the worker's to add."""
    message = types_pb2.Answer(
        score=answer.score or 0.0,
        finish_reason=finish_reason_to_wire(answer.finish_reason),
        raw_text=answer.raw_text,
        token_count=answer.token_count,
    )
    match answer.value:
        case TextAnswer(text, regions):
            message.text.CopyFrom(types_pb2.TextAnswer(text=text, regions=_to_wire(regions)))
        case DetectionAnswer(regions):
            message.detection.CopyFrom(types_pb2.DetectionAnswer(regions=_to_wire(regions)))
        case GroundingAnswer(phrases):
            message.grounding.CopyFrom(
                types_pb2.GroundingAnswer(phrases=map(_phrase_to_wire, phrases))
            )
        case SegmentationAnswer(regions):
            message.segmentation.CopyFrom(types_pb2.SegmentationAnswer(regions=_to_wire(regions)))
        case OcrAnswer(regions):
            message.ocr.CopyFrom(types_pb2.OcrAnswer(regions=_to_wire(regions)))
    return message


def answer_from_wire(message: types_pb2.Answer) -> Answer:
    """Return the answer of a message.

    Raises:
        ValueError: It holds no answer, an unknown finish reason or a region without a shape.
    """
    return Answer(
        value=_value_from_wire(message),
        # The message cannot say "no score", and no generated sequence has the probability 0.
        score=message.score or None,
        finish_reason=finish_reason_from_wire(message.finish_reason),
        raw_text=message.raw_text,
        token_count=message.token_count,
    )


def _value_from_wire(message: types_pb2.Answer) -> AnswerValue:
    match message.WhichOneof("value"):
        case "text":
            return TextAnswer(message.text.text, _from_wire(message.text.regions))
        case "detection":
            return DetectionAnswer(_from_wire(message.detection.regions))
        case "grounding":
            return GroundingAnswer(tuple(map(_phrase_from_wire, message.grounding.phrases)))
        case "segmentation":
            return SegmentationAnswer(_from_wire(message.segmentation.regions))
        case "ocr":
            return OcrAnswer(_from_wire(message.ocr.regions))
        case _:
            raise ValueError("the message holds no answer")


def _phrase_to_wire(phrase: GroundedPhrase) -> types_pb2.GroundedPhrase:
    return types_pb2.GroundedPhrase(
        phrase=phrase.phrase, regions=_to_wire(phrase.regions), matched=phrase.matched
    )


def _phrase_from_wire(message: types_pb2.GroundedPhrase) -> GroundedPhrase:
    return GroundedPhrase(message.phrase, _from_wire(message.regions), message.matched)


def _to_wire(regions: Iterable[Region]) -> list[types_pb2.Region]:
    return [region_to_wire(region) for region in regions]


def _from_wire(messages: Iterable[types_pb2.Region]) -> tuple[Region, ...]:
    return tuple(region_from_wire(message) for message in messages)
