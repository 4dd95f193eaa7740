"""Say what is to be done with an image: leniently as callers like it, strictly on the wire."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeAlias, TypeVar

from arno.api.v1 import job_pb2, types_pb2, vision_pb2
from arno.errors import InvalidFieldError
from arno.images.input import ImageLike, encode_image
from arno.vocabulary import Lane, StreamPolicy
from arno.vocabulary.spec import TaskLike, TaskSpec, spec_of
from arno.vocabulary.wire import lane_to_wire, policy_to_wire, spec_to_wire

Named = TypeVar("Named", bound=StrEnum)

_IMAGE_BYTES_MAX: Final = (2 << 30) - (4 << 20)
"""What a message can hold: protobuf ends at 2 GiB. Gateways take far less."""


TaskRequest = TaskSpec
"""One task to run on the image, with everything that a task's name alone does not say."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a video.

    Attributes:
        image: Anything that `Client.infer` takes.
        sequence: Its number, higher than the one before; None counts from 0.
        timestamp_ms: Its time in the video, in milliseconds from the start.
        idempotency_key: As for `Client.infer`.
    """

    image: ImageLike
    sequence: int | None = None
    timestamp_ms: int = 0
    idempotency_key: str = ""


FrameLike: TypeAlias = Frame | ImageLike


def held_to_form(tasks: Sequence[TaskLike]) -> tuple[TaskSpec, ...]:
    """Return the tasks with their answers constrained."""
    return tuple(replace(spec_of(task), constrained=True) for task in tasks)


def checked_id(job_id: str) -> str:
    """Return the id of a job.

    Raises:
        InvalidFieldError: No job can have it, nor can a message hold it.
    """
    if not job_id.isprintable():
        problem = "holds characters that no id has"
        raise InvalidFieldError(field="job_id", problem=problem, sent=job_id)
    return job_id


def check_tasks(tasks: Sequence[TaskLike]) -> None:
    """Refuse tasks that no message can hold, before any image is read.

    Raises:
        InvalidFieldError: A task makes no sense, or there is none.
    """
    _specs(tasks)


def infer_message(
    image: ImageLike, tasks: Sequence[TaskLike], *, lane: str | None, idempotency_key: str
) -> vision_pb2.InferRequest:
    """Return the message of one request.

    Raises:
        InvalidRequestError: The image cannot be read, or a task or the key makes no sense.
    """
    message = vision_pb2.InferRequest(tasks=_specs(tasks), lane=_lane(lane))
    message.image.content = _content(image)
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
    notify: Sequence[str] = (),
) -> job_pb2.SubmitJobRequest:
    """Return the message of a durable job.

    Raises:
        InvalidRequestError: The image cannot be read, or a task, the key or the time makes no
            sense.
    """
    message = job_pb2.SubmitJobRequest(tasks=_specs(tasks), lane=_lane(lane))
    message.image.content = _content(image)
    with _sendable("idempotency_key"):
        message.idempotency_key = idempotency_key
    if time_to_live_s is not None:
        with _sendable("time_to_live_s"):
            message.time_to_live.FromMilliseconds(round(time_to_live_s * 1000))
    with _sendable("notify"):
        message.notify.extend(notify)
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
        unordered: Return each result as soon as it is there, in whatever order.
    """

    policy: StreamPolicy | str | None = None
    every: int | None = None
    in_flight_max: int | None = None
    frame_timeout_s: float | None = None
    lane: str | None = None
    unordered: bool = False


def config_message(
    tasks: Sequence[TaskLike], options: StreamOptions
) -> vision_pb2.InferStreamRequest:
    """Return the first message of a stream.

    Raises:
        InvalidFieldError: A task or an option makes no sense.
    """
    config = vision_pb2.StreamConfig(
        tasks=_specs(tasks),
        lane=_lane(options.lane),
        policy=_policy(options.policy),
        unordered=options.unordered,
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
    message = vision_pb2.InferStreamRequest()
    frame_in_message = message.frame
    frame_in_message.image.content = _content(given.image)
    with _sendable("frame"):
        frame_in_message.sequence = next_sequence if given.sequence is None else given.sequence
        frame_in_message.timestamp_ms = given.timestamp_ms
        frame_in_message.idempotency_key = given.idempotency_key
    return message


def _content(image: ImageLike) -> bytes:
    """Return the file of an image, to be put where it belongs: a message in another is a copy."""
    return encode_image(image, bytes_max=_IMAGE_BYTES_MAX)


def _specs(tasks: Sequence[TaskLike]) -> list[types_pb2.TaskSpec]:
    if not tasks:
        raise InvalidFieldError(field="tasks", problem="name at least one task", limit="1 or more")
    specs = [spec_of(task) for task in tasks]
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


def _lane(name: str | None) -> types_pb2.Lane.ValueType:
    return types_pb2.LANE_UNSPECIFIED if name is None else lane_to_wire(_member(Lane, name, "lane"))


def _policy(name: str | None) -> vision_pb2.StreamPolicy.ValueType:
    if name is None:
        return vision_pb2.STREAM_POLICY_UNSPECIFIED
    return policy_to_wire(_member(StreamPolicy, name, "policy"))


def _member(names: type[Named], name: str, field: str) -> Named:
    """Return the member of an enum by its name, in any case."""
    found = names.__members__.get(name.upper())
    if found is None:
        limit = ", ".join(member.lower() for member in names)
        raise InvalidFieldError(field=field, problem="unknown name", limit=limit, sent=name)
    return found
