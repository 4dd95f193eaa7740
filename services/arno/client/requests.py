"""Say what is to be done with an image: leniently as callers like it, strictly on the wire."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, TypeAlias

from arno.api.v1 import job_pb2, types_pb2, vision_pb2
from arno.errors import InvalidFieldError
from arno.ops.image_input import ImageLike, encode_image
from arno.vocabulary import Box, Task
from arno.vocabulary.spec import TaskSpec
from arno.vocabulary.wire import spec_to_wire

_BOX_SIDES: Final = 4


class Lane(StrEnum):
    """A priority class; the names of the API's `Lane`."""

    INTERACTIVE = "INTERACTIVE"
    STREAM = "STREAM"
    BATCH = "BATCH"


class StreamPolicy(StrEnum):
    """What a stream does when frames come faster than answers; the names of the API's enum."""

    ALL = "ALL"
    """Every frame is answered, and the sender is slowed down."""
    LATEST = "LATEST"
    """Only the newest waiting frame is kept; the others are reported as dropped."""
    EVERY = "EVERY"
    """Only every n-th frame is answered, counted from the first."""


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """One task to run on the image.

    Attributes:
        task: A `Task`, or its name in any case: "OD".
        text: The caption, phrase or prompt of a task that takes one.
        region: The box asked about, in pixels: a `Box`, or x0, y0, x1, y1.
        classes: Names to look for, in place of the text.
        id: Names the task in the answer and in `input_from`; empty: its index.
        input_from: The id of an earlier task whose answer is this one's input.
        fan_out_max: How many regions of that answer are followed, best first, 1..64.
        num_beams: Width of the beam search, 1..8; 1 is greedy and fastest.
        max_new_tokens: Limit on the answer, its end token included.
        constrained: Hold the answer to the form of its task, and its labels to `classes`.
    """

    task: Task | str
    text: str = ""
    region: Box | Sequence[float] | None = None
    classes: Sequence[str] = ()
    id: str = ""
    input_from: str = ""
    fan_out_max: int | None = None
    num_beams: int | None = None
    max_new_tokens: int | None = None
    constrained: bool = False

    def spec(self) -> TaskSpec:
        """Return the strict form.

        Raises:
            InvalidFieldError: The task's name is unknown, the region is not four numbers, or the
                classes are one text.
        """
        if isinstance(self.classes, str):
            # Its letters would each be a class.
            problem = "must be a list of names, not one text"
            raise InvalidFieldError(field="classes", problem=problem, sent=self.classes)
        return TaskSpec(
            task=task_of(self.task),
            id=self.id,
            text=self.text,
            classes=tuple(self.classes),
            region=_box(self.region),
            num_beams=self.num_beams,
            max_new_tokens=self.max_new_tokens,
            constrained=self.constrained,
            input_from=self.input_from,
            fan_out_max=self.fan_out_max,
        )


TaskLike: TypeAlias = Task | str | TaskRequest
"""A task, its name, or a request that says more."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a video.

    Attributes:
        image: Anything that `Client.infer` takes.
        sequence: Its number, higher than the one before; None counts from 0.
        timestamp_ms: Its time in the video, in milliseconds from the start.
    """

    image: ImageLike
    sequence: int | None = None
    timestamp_ms: int = 0


FrameLike: TypeAlias = Frame | ImageLike


def task_of(name: Task | str) -> Task:
    """Return the task of a name, whatever its case and separators.

    Raises:
        InvalidFieldError: No task has the name; the message suggests the nearest.
    """
    wanted = name.strip().upper().replace("-", "_").replace(" ", "_").strip("<>")
    if wanted in set(Task):
        return Task(wanted)
    close = difflib.get_close_matches(wanted, list(Task), n=1)
    problem = f"unknown task; did you mean {close[0]}?" if close else "unknown task"
    raise InvalidFieldError(field="task", problem=problem, limit=", ".join(Task), sent=name)


def held_to_form(tasks: Sequence[TaskLike]) -> tuple[TaskRequest, ...]:
    """Return the tasks with their answers constrained."""
    return tuple(replace(_request(task), constrained=True) for task in tasks)


def checked_id(job_id: str) -> str:
    """Return the id of a job.

    Raises:
        InvalidFieldError: No job can have it, nor can a message hold it.
    """
    if not job_id.isprintable():
        problem = "holds characters that no id has"
        raise InvalidFieldError(field="job_id", problem=problem, sent=job_id)
    return job_id


def infer_message(
    image: ImageLike, tasks: Sequence[TaskLike], *, lane: str | None, idempotency_key: str
) -> vision_pb2.InferRequest:
    """Return the message of one request.

    Raises:
        InvalidRequestError: The image cannot be read, or a task or the key makes no sense.
    """
    message = vision_pb2.InferRequest(
        image=types_pb2.Image(content=encode_image(image)),
        tasks=_specs(tasks),
        lane=_lane(lane),
    )
    with _sendable("idempotency_key"):
        message.idempotency_key = idempotency_key
    return message


def submit_message(
    image: ImageLike,
    tasks: Sequence[TaskLike],
    *,
    lane: str | None,
    idempotency_key: str,
    time_to_live_s: float | None,
) -> job_pb2.SubmitJobRequest:
    """Return the message of a durable job.

    Raises:
        InvalidRequestError: The image cannot be read, or a task, the key or the time makes no
            sense.
    """
    message = job_pb2.SubmitJobRequest(
        image=types_pb2.Image(content=encode_image(image)),
        tasks=_specs(tasks),
        lane=_lane(lane),
    )
    with _sendable("idempotency_key"):
        message.idempotency_key = idempotency_key
    if time_to_live_s is not None:
        with _sendable("time_to_live_s"):
            message.time_to_live.FromMilliseconds(round(time_to_live_s * 1000))
    return message


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Settings of one video stream; None is the server's default.

    Attributes:
        policy: What happens when frames come faster than answers.
        every: For the policy EVERY: at least 1.
        in_flight_max: Frames that may be open at once, 1..64.
        frame_timeout_s: How long a frame may take.
        lane: Priority class.
    """

    policy: StreamPolicy | str | None = None
    every: int | None = None
    in_flight_max: int | None = None
    frame_timeout_s: float | None = None
    lane: str | None = None


def config_message(
    tasks: Sequence[TaskLike], options: StreamOptions
) -> vision_pb2.InferStreamRequest:
    """Return the first message of a stream.

    Raises:
        InvalidFieldError: A task or an option makes no sense.
    """
    config = vision_pb2.StreamConfig(
        tasks=_specs(tasks), lane=_lane(options.lane), policy=_policy(options.policy)
    )
    if options.every is not None:
        with _sendable("every"):
            config.every = options.every
    if options.in_flight_max is not None:
        with _sendable("in_flight_max"):
            config.in_flight_max = options.in_flight_max
    if options.frame_timeout_s is not None:
        with _sendable("frame_timeout_s"):
            config.frame_timeout_ms = math.ceil(options.frame_timeout_s * 1000)
    return vision_pb2.InferStreamRequest(config=config)


def frame_message(frame: FrameLike, *, next_sequence: int) -> vision_pb2.InferStreamRequest:
    """Return the message of a frame.

    Raises:
        InvalidFieldError: The image cannot be read, or a number is out of range.
    """
    given = frame if isinstance(frame, Frame) else Frame(frame)
    message = vision_pb2.Frame(image=types_pb2.Image(content=encode_image(given.image)))
    with _sendable("frame"):
        message.sequence = next_sequence if given.sequence is None else given.sequence
        message.timestamp_ms = given.timestamp_ms
    return vision_pb2.InferStreamRequest(frame=message)


def _specs(tasks: Sequence[TaskLike]) -> list[types_pb2.TaskSpec]:
    if not tasks:
        raise InvalidFieldError(field="tasks", problem="name at least one task", limit="1 or more")
    specs = [_request(task).spec() for task in tasks]
    messages = []
    for index, spec in enumerate(specs):
        with _sendable(f"tasks[{index}]"):
            messages.append(spec_to_wire(spec))
    return messages


@contextmanager
def _sendable(field: str) -> Iterator[None]:
    """Name the field with what no message can hold: bytes that are no UTF-8, too large a number."""
    try:
        yield
    except UnicodeEncodeError as error:
        sent = str(error.object)
        raise InvalidFieldError(field=field, problem="holds no UTF-8", sent=sent) from error
    except (ValueError, OverflowError) as error:
        raise InvalidFieldError(field=field, problem=f"cannot be sent ({error})") from error


def _request(task: TaskLike) -> TaskRequest:
    return task if isinstance(task, TaskRequest) else TaskRequest(task)


def _box(region: Box | Sequence[float] | None) -> Box | None:
    if region is None or isinstance(region, Box):
        return region
    if len(region) != _BOX_SIDES:
        problem = "a region is four numbers: x0, y0, x1, y1"
        raise InvalidFieldError(field="region", problem=problem, sent=str(list(region)))
    x0, y0, x1, y1 = region
    return Box(x0, y0, x1, y1)


def _lane(name: str | None) -> types_pb2.Lane.ValueType:
    value: types_pb2.Lane.ValueType = _enum(types_pb2.Lane, "LANE", Lane, name)
    return value


def _policy(name: str | None) -> vision_pb2.StreamPolicy.ValueType:
    value: vision_pb2.StreamPolicy.ValueType = _enum(
        vision_pb2.StreamPolicy, "STREAM_POLICY", StreamPolicy, name
    )
    return value


def _enum(wire: Any, prefix: str, names: type[StrEnum], name: str | None) -> Any:
    if name is None:
        return wire.Value(f"{prefix}_UNSPECIFIED")
    if name.upper() not in set(names):
        field = prefix.rsplit("_", 1)[-1].lower()
        limit = ", ".join(member.lower() for member in names)
        raise InvalidFieldError(field=field, problem="unknown name", limit=limit, sent=name)
    return wire.Value(f"{prefix}_{name.upper()}")
