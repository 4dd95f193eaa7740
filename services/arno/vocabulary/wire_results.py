"""Translate errors, results and jobs to and from the messages of the API.

Tasks and answers are translated by `wire`.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from arno.api.v1 import job_pb2, types_pb2, vision_pb2
from arno.errors import (
    ArnoError,
    Code,
    InvalidFieldError,
    QuotaExceededError,
    UnavailableError,
)
from arno.vocabulary.results import (
    FrameResult,
    ImageDescription,
    InferResult,
    Job,
    Model,
    TaskResult,
    Timings,
)
from arno.vocabulary.wire import (
    answer_from_wire,
    answer_to_wire,
    box_from_wire,
    box_to_wire,
    state_from_wire,
    task_from_wire,
    task_to_wire,
)

_RETRY_DELAY_S: Final = 1.0


def error_to_wire(error: ArnoError) -> types_pb2.Error:
    """Return the message of an error."""
    return types_pb2.Error(
        code=error.code,
        reason=error.reason,
        message=error.message,
        metadata=error.metadata,
        retryable=error.retryable,
    )


def rebuild_error(
    reason: str, message: str, *, code: int, metadata: Mapping[str, str], retryable: bool = False
) -> ArnoError:
    """Return the error that the server raised; an unknown reason keeps its name and code."""
    kind = _by_reason().get(reason) or _unknown(reason, code, retryable)
    # Not through the class's own __init__: the sentence and the facts are written already.
    error = kind.__new__(kind)
    ArnoError.__init__(error, message)
    error.metadata = dict(metadata)
    if isinstance(error, InvalidFieldError):
        error.field = metadata.get("field", "")
        error.problem = metadata.get("problem", message)
    if isinstance(error, UnavailableError | QuotaExceededError):
        error.retry_delay_s = float(metadata.get("retry_delay_s", _RETRY_DELAY_S))
    return error


def error_from_wire(error: types_pb2.Error) -> ArnoError:
    """Return the error of one task, frame or job."""
    return rebuild_error(
        error.reason,
        error.message,
        code=error.code,
        metadata=error.metadata,
        retryable=error.retryable,
    )


def infer_result(message: vision_pb2.InferResponse, *, source: Any = None) -> InferResult:
    """Return the typed form of an answer.

    Args:
        message: The answer.
        source: The image as the caller gave it, if the result shall keep it.
    """
    image, model = message.image, message.model
    return InferResult(
        job_id=message.job_id,
        tasks=tuple(_task_result(result) for result in message.results),
        image=ImageDescription(image.width_px, image.height_px, image.mime_type, image.sha256)
        if message.HasField("image")
        else None,
        model=model_result(model) if message.HasField("model") else None,
        message=message,
        source=source,
    )


def model_result(message: types_pb2.Model) -> Model:
    """Return the model that a message names."""
    return Model(message.name, message.fingerprint, message.dtype)


def response_to_wire(
    tasks: Iterable[TaskResult], image: ImageDescription | None, model: Model | None
) -> vision_pb2.InferResponse:
    """Return the message of a result that was made in this process, for exports."""
    message = vision_pb2.InferResponse(results=map(task_result_to_wire, tasks))
    if image is not None:
        message.image.CopyFrom(
            types_pb2.ImageDescription(
                width_px=image.width_px,
                height_px=image.height_px,
                mime_type=image.mime_type,
                sha256=image.sha256,
            )
        )
    if model is not None:
        message.model.CopyFrom(
            types_pb2.Model(name=model.name, fingerprint=model.fingerprint, dtype=model.dtype)
        )
    return message


def task_result_to_wire(result: TaskResult) -> types_pb2.TaskResult:
    """Return the message of one task's outcome."""
    message = types_pb2.TaskResult(
        id=result.id,
        task=task_to_wire(result.task),
        text=result.text,
        region=None if result.region is None else box_to_wire(result.region),
    )
    if isinstance(result.outcome, ArnoError):
        message.error.CopyFrom(error_to_wire(result.outcome))
        return message
    message.answer.CopyFrom(answer_to_wire(result.outcome))
    stages, took = message.answer.timings, result.timings
    for duration, seconds in (
        (stages.queue, took.queue_s),
        (stages.prepare, took.prepare_s),
        (stages.encode, took.encode_s),
        (stages.decode, took.decode_s),
    ):
        # The wall clocks of two machines may differ by a little: no stage took less than no time.
        duration.FromNanoseconds(max(0, round(seconds * 1e9)))
    return message


def frame_result(message: vision_pb2.InferStreamResponse) -> FrameResult:
    """Return the typed form of a frame's answer."""
    outcome: InferResult | ArnoError | None = None
    if message.HasField("response"):
        outcome = infer_result(message.response)
    elif message.HasField("error"):
        outcome = error_from_wire(message.error)
    return FrameResult(message.sequence, message.timestamp_ms, outcome, message)


def _task_result(message: types_pb2.TaskResult) -> TaskResult:
    answered = message.HasField("answer")
    return TaskResult(
        id=message.id,
        task=task_from_wire(message.task),
        text=message.text,
        region=box_from_wire(message.region) if message.HasField("region") else None,
        outcome=answer_from_wire(message.answer) if answered else error_from_wire(message.error),
        timings=_timings(message.answer.timings) if answered else Timings(),
    )


def _timings(message: types_pb2.Timings) -> Timings:
    return Timings(
        queue_s=_seconds(message.queue),
        prepare_s=_seconds(message.prepare),
        encode_s=_seconds(message.encode),
        decode_s=_seconds(message.decode),
    )


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def job_result(message: job_pb2.Job) -> Job:
    """Return the typed form of a job."""
    return Job(
        id=message.id,
        state=state_from_wire(message.state),
        submitted_at=_time(message, "submit_time"),
        expires_at=_time(message, "expire_time"),
        ended_at=_time(message, "end_time"),
        result=infer_result(message.response) if message.HasField("response") else None,
        error=error_from_wire(message.error) if message.HasField("error") else None,
        attempt_count=message.attempt_count,
        decoded_token_count=message.decoded_token_count,
        message=message,
    )


def _time(message: job_pb2.Job, name: str) -> datetime.datetime | None:
    if not message.HasField(name):  # type: ignore[arg-type]  # the stubs list the names literally
        return None
    stamp: Timestamp = getattr(message, name)
    return stamp.ToDatetime(tzinfo=datetime.UTC)


@cache
def _by_reason() -> dict[str, type[ArnoError]]:
    found: dict[str, type[ArnoError]] = {}
    waiting: list[type[ArnoError]] = [ArnoError]
    while waiting:
        kind = waiting.pop()
        # A subclass that leaves the reason as it is must not take its parent's place.
        found.setdefault(kind.reason, kind)
        waiting.extend(kind.__subclasses__())
    return found


@cache
def _unknown(reason: str, code: int, retryable: bool) -> type[ArnoError]:
    name = "".join(part.capitalize() for part in reason.split("_")) or "Unknown"
    number = Code(code) if code in set(Code) else Code.UNKNOWN
    facts = {"code": number, "reason": reason or "UNKNOWN", "retryable": retryable}
    return type(f"{name}Error", (ArnoError,), facts)
