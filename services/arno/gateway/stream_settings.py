"""Check the settings of a stream, which come in its first message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from arno.api.v1 import types_pb2, vision_pb2
from arno.bus.ports import Lane
from arno.errors import InvalidFieldError
from arno.gateway.settings import GatewayLimits
from arno.gateway.task_validation import check_tasks
from arno.gateway.validation import check_lane

_IN_FLIGHT_MAX: Final = 64
_EVERY_MAX: Final = 2**31 - 1
_FRAME_TIMEOUT_MS_MAX: Final = 600_000
_FRAME_TIMEOUT_MS: Final = 30_000


class StreamPolicy(StrEnum):
    """What a stream does when frames come faster than answers."""

    ALL = "ALL"
    LATEST = "LATEST"
    EVERY = "EVERY"

    def to_wire(self) -> vision_pb2.StreamPolicy.ValueType:
        """Return the API's number."""
        return vision_pb2.StreamPolicy.Value(f"STREAM_POLICY_{self}")


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """The checked settings of one stream.

    Attributes:
        tasks: Run on every frame.
        lane: Priority class.
        policy: Which frames are left out.
        every: For ``EVERY``: each so manieth frame is answered, from the first.
        in_flight_max: Frames open at once.
        frame_timeout_s: How long a frame may take.
    """

    tasks: tuple[types_pb2.TaskSpec, ...]
    lane: Lane
    policy: StreamPolicy
    every: int
    in_flight_max: int
    frame_timeout_s: float


def check_stream_config(
    config: vision_pb2.StreamConfig, *, limits: GatewayLimits
) -> StreamSettings:
    """Return the settings of a stream.

    Raises:
        InvalidFieldError: Naming the first field at fault. Not retryable.
        LimitExceededError: The same for sizes. Not retryable.
    """
    in_flight_max = limits.stream_in_flight_default
    if config.HasField("in_flight_max"):
        in_flight_max = _in_range("in_flight_max", config.in_flight_max, _IN_FLIGHT_MAX)
    timeout_ms = _FRAME_TIMEOUT_MS
    if config.HasField("frame_timeout_ms"):
        timeout_ms = _in_range("frame_timeout_ms", config.frame_timeout_ms, _FRAME_TIMEOUT_MS_MAX)
    return StreamSettings(
        tasks=check_tasks(config.tasks, limits=limits, field="config.tasks"),
        lane=check_lane(config.lane, default=Lane.STREAM, field="config.lane"),
        policy=_policy(config.policy),
        every=_in_range("every", config.every, _EVERY_MAX) if config.HasField("every") else 1,
        in_flight_max=in_flight_max,
        frame_timeout_s=timeout_ms / 1000,
    )


def _policy(number: int) -> StreamPolicy:
    if number == vision_pb2.STREAM_POLICY_UNSPECIFIED:
        return StreamPolicy.ALL
    for policy in StreamPolicy:
        if policy.to_wire() == number:
            return policy
    raise InvalidFieldError(
        field="config.policy",
        problem="no such policy",
        limit=", ".join(StreamPolicy),
        sent=str(number),
    )


def _in_range(name: str, value: int, highest: int) -> int:
    if 1 <= value <= highest:
        return value
    raise InvalidFieldError(
        field=f"config.{name}", problem="out of range", limit=f"1 to {highest}", sent=str(value)
    )
