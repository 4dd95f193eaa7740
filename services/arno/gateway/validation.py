"""Check whole requests before anything is queued: the image by its header, then every task.

The error of a request that fails names the field, the limit and the value that was sent. This
module decodes no pixels and does not depend on gRPC.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from google.protobuf.duration_pb2 import Duration

from arno.api.v1 import types_pb2
from arno.errors import InvalidFieldError, LimitExceededError
from arno.gateway.fair_slots import FairSlots
from arno.gateway.settings import GatewayLimits, RequestLimits
from arno.gateway.task_validation import check_regions
from arno.images.decode import ImageLimits, inspect_image
from arno.ops.process_limits import available_cpus
from arno.vocabulary import ImageSize, TaskSpec
from arno.vocabulary.inputs import quoted

_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SUBSCRIPTION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SUBSCRIPTIONS_MAX: Final = 8
_THREAD_BYTES_MIN: Final = 1024 * 1024
"""Digesting a MiB takes about a millisecond; larger images leave the loop to others meanwhile."""

_CHECK_THREADS_MIN: Final = 2
"""So that one tenant's large images leave a thread to another's."""


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that can be worked on.

    Attributes:
        content: The image file.
        image: What its header says, and its digest.
        tasks: With ids filled in.
        scan_count: Upper bound of the passes that decoding makes over the pixels.
    """

    content: bytes
    image: types_pb2.ImageDescription
    tasks: tuple[TaskSpec, ...]
    scan_count: int = 1


@dataclass(frozen=True, slots=True)
class FieldNames:
    """The names of a request's parts in error messages."""

    image: str = "image.content"
    tasks: str = "tasks"


REQUEST_FIELDS: Final = FieldNames()


def check_request(
    content: bytes,
    tasks: tuple[TaskSpec, ...],
    *,
    limits: RequestLimits,
    fields: FieldNames = REQUEST_FIELDS,
) -> CheckedRequest:
    """Return the request as the worker needs it.

    Args:
        content: The image file.
        tasks: As `parse_tasks` returned them.
        limits: What a request may hold.
        fields: The names of its parts.

    Raises:
        InvalidFieldError: A region lies outside the image. Not retryable.
        InvalidImageError: Not an image that is taken. Not retryable.
        LimitExceededError: Too large. Not retryable.
    """
    allowed = ImageLimits(limits.image_bytes_max, limits.image_pixels_max, limits.image_scans_max)
    found = inspect_image(content, allowed, field=fields.image)
    check_regions(tasks, ImageSize(found.width_px, found.height_px), field=fields.tasks)
    image = types_pb2.ImageDescription(
        width_px=found.width_px,
        height_px=found.height_px,
        mime_type=found.mime_type,
        sha256=hashlib.sha256(content).hexdigest(),
    )
    return CheckedRequest(content, image, tasks, found.scan_count)


class RequestChecker:
    """Checks requests; a large image is looked at on a thread. Lives in one asyncio loop."""

    def __init__(self, limits: GatewayLimits, *, tenant_share: float = 1.0) -> None:
        """Take what a request may hold, and the part of the threads for one tenant's images."""
        self.limits = limits
        threads = max(_CHECK_THREADS_MIN, available_cpus())
        self._slots = FairSlots(threads, tenant_share=tenant_share)

    async def check(
        self,
        content: bytes,
        tasks: tuple[TaskSpec, ...],
        *,
        tenant: str,
        fields: FieldNames = REQUEST_FIELDS,
    ) -> CheckedRequest:
        """Return what `check_request` does, and raise what it raises."""
        check = partial(check_request, content, tasks, limits=self.limits, fields=fields)
        if len(content) < _THREAD_BYTES_MIN:
            return check()
        async with self._slots.hold(tenant):
            return await asyncio.to_thread(check)


def check_idempotency_key(key: str, *, field: str = "idempotency_key") -> str:
    """Return the key, which may be empty; `field` names it in the error.

    Raises:
        InvalidFieldError: It has another form. Not retryable.
    """
    if key and not _KEY.fullmatch(key):
        raise InvalidFieldError(
            field=field, problem="not a key", limit=_KEY.pattern, sent=quoted(key)
        )
    return key


def check_notify(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of subscriptions, each once.

    Raises:
        InvalidFieldError: One has another form. Not retryable.
        LimitExceededError: There are too many. Not retryable.
    """
    if len(names) > _SUBSCRIPTIONS_MAX:
        limit, sent = str(_SUBSCRIPTIONS_MAX), str(len(names))
        raise LimitExceededError(field="notify", problem="too many", limit=limit, sent=sent)
    for index, name in enumerate(names):
        if not _SUBSCRIPTION.fullmatch(name):
            field, limit = f"notify[{index}]", _SUBSCRIPTION.pattern
            problem = "not the name of a subscription"
            raise InvalidFieldError(field=field, problem=problem, limit=limit, sent=quoted(name))
    return tuple(dict.fromkeys(names))


def check_job_id(job_id: str) -> str:
    """Return the id of a job.

    Raises:
        InvalidFieldError: It is missing, or no job can have it. Not retryable.
    """
    if not _KEY.fullmatch(job_id):
        raise InvalidFieldError(
            field="job_id", problem="not a job's id", limit=_KEY.pattern, sent=quoted(job_id)
        )
    return job_id


def check_time_to_live(duration: Duration | None, *, default_s: int, max_s: int) -> float:
    """Return how long a job may take, in seconds.

    Raises:
        InvalidFieldError: It is not positive. Not retryable.
        LimitExceededError: It is too long. Not retryable.
    """
    if duration is None:
        return float(default_s)
    seconds = duration.seconds + duration.nanos / 1e9
    field, limit, sent = "time_to_live", f"above 0 s, at most {max_s} s", f"{seconds:.12g} s"
    if seconds <= 0:
        raise InvalidFieldError(field=field, problem="not positive", limit=limit, sent=sent)
    if seconds > max_s:
        raise LimitExceededError(field=field, problem="too long", limit=limit, sent=sent)
    return seconds
