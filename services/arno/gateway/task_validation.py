"""Check the tasks of a request or a stream: ids, texts, regions, options, who follows whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from arno.api.v1 import types_pb2
from arno.errors import InvalidFieldError, LimitExceededError
from arno.gateway.settings import RequestLimits
from arno.vocabulary import ImageSize, Task, check_inputs
from arno.vocabulary.checks import check_id, check_options, check_source, inside
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
    allowed = f"1 to {limits.tasks_max}"
    if not messages:
        raise InvalidFieldError(field=field, problem="there is no task", limit=allowed, sent="0")
    if len(messages) > limits.tasks_max:
        sent = str(len(messages))
        raise LimitExceededError(field=field, problem="too many tasks", limit=allowed, sent=sent)
    earlier: dict[str, Task] = {}
    specs = []
    for index, message in enumerate(messages):
        with inside(f"{field}[{index}]"):
            task_id = check_id(message.id or str(index), earlier)
            spec = replace(spec_from_wire(message), id=task_id)
            _check_sizes(spec, limits)
            _check_candidate_sizes(message, limits)
            check_options(spec)
            check_source(spec, earlier)
        earlier[task_id] = spec.task
        specs.append(spec)
    return tuple(specs)


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
