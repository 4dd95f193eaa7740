"""Read the tasks of a request or a stream from the wire, within the limits of the settings."""

from __future__ import annotations

from collections.abc import Sequence

from arno.api.v1 import types_pb2
from arno.errors import LimitExceededError
from arno.gateway.settings import RequestLimits
from arno.vocabulary import ImageSize, check_inputs
from arno.vocabulary.checks import inside, read_specs
from arno.vocabulary.spec import TaskSpec
from arno.vocabulary.wire import spec_from_wire


def parse_tasks(
    messages: Sequence[types_pb2.TaskSpec], *, limits: RequestLimits, field: str = "tasks"
) -> tuple[TaskSpec, ...]:
    """Return the tasks, checked in everything but their image, with their ids filled in.

    Args:
        messages: As the client sent them.
        limits: How many tasks there may be, and how large.
        field: The name of the list in error messages.

    Raises:
        InvalidFieldError: Naming the first field at fault. Not retryable.
        LimitExceededError: The same for sizes. Not retryable.
    """

    def read(message: types_pb2.TaskSpec) -> TaskSpec:
        spec = spec_from_wire(message)
        _check_sizes(spec, limits)
        _check_candidate_sizes(message, limits)
        return spec

    return read_specs(messages, read, count_max=limits.tasks_max, field=field)


def check_regions(specs: Sequence[TaskSpec], size: ImageSize, *, field: str = "tasks") -> None:
    """Refuse tasks that ask about a region outside the image.

    Raises:
        InvalidFieldError: Naming the first one. Not retryable.
    """
    for index, spec in enumerate(specs):
        if spec.region is not None:
            with inside(f"{field}[{index}]"):
                check_inputs(spec.task, region=spec.region, size=size)


def _check_candidate_sizes(message: types_pb2.TaskSpec, limits: RequestLimits) -> None:
    count = len(message.candidates)
    if count > limits.candidates_max:
        limit, sent = f"{limits.candidates_max} candidates", f"{count} candidates"
        raise LimitExceededError(field="candidates", problem="too many", limit=limit, sent=sent)
    size = sum(one.ByteSize() for one in message.candidates)
    if size > limits.candidates_bytes_max:
        limit, sent = f"{limits.candidates_bytes_max} bytes", f"{size} bytes"
        raise LimitExceededError(
            field="candidates", problem="too large together", limit=limit, sent=sent
        )


def _check_sizes(spec: TaskSpec, limits: RequestLimits) -> None:
    allowed = f"{limits.text_bytes_max} bytes of UTF-8"
    text_bytes = len(spec.text.encode())
    if text_bytes > limits.text_bytes_max:
        sent = f"{text_bytes} bytes"
        raise LimitExceededError(field="text", problem="too long", limit=allowed, sent=sent)
    if len(spec.classes) > limits.classes_max:
        raise LimitExceededError(
            field="classes",
            problem="too many",
            limit=f"{limits.classes_max} classes",
            sent=f"{len(spec.classes)} classes",
        )
    classes_bytes = sum(len(name.encode()) for name in spec.classes)
    if classes_bytes > limits.text_bytes_max:
        sent = f"{classes_bytes} bytes"
        raise LimitExceededError(
            field="classes", problem="too long together", limit=allowed, sent=sent
        )
