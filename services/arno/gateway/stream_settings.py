"""Check the settings of a stream, which come in its first message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from arno.api.v1 import vision_pb2
from arno.errors import InvalidFieldError
from arno.gateway.settings import GatewayLimits
from arno.gateway.task_validation import parse_tasks
from arno.vocabulary import Lane, StreamPolicy, TaskSpec
from arno.vocabulary.wire import lane_from_wire, policy_from_wire

_IN_FLIGHT_MAX: Final = 64
_EVERY_MAX: Final = 2**31 - 1
_FRAME_TIMEOUT_MS_MAX: Final = 600_000
_FRAME_TIMEOUT_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """The checked settings of one stream.

    Attributes:
        tasks: Run on every frame.
        lane: Priority class.
        policy: Which frames are left out.
        every: For ``EVERY``: answer every N-th frame, starting with the first.
        in_flight_max: Frames open at once.
        frame_timeout_s: How long a frame may take.
    """

    tasks: tuple[TaskSpec, ...]
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
        tasks=parse_tasks(config.tasks, limits=limits, field="config.tasks"),
        lane=lane_from_wire(config.lane, default=Lane.STREAM, field="config.lane"),
        policy=policy_from_wire(config.policy, field="config.policy"),
        every=_in_range("every", config.every, _EVERY_MAX) if config.HasField("every") else 1,
        in_flight_max=in_flight_max,
        frame_timeout_s=timeout_ms / 1000,
    )


def _in_range(name: str, value: int, highest: int) -> int:
    if 1 <= value <= highest:
        return value
    raise InvalidFieldError(
        field=f"config.{name}", problem="out of range", limit=f"1 to {highest}", sent=str(value)
    )
