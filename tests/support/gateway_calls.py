"""What gateway tests say and read: requests, and the parts of a canonical error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from arno.api.v1 import types_pb2, vision_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from support import images


@dataclass(frozen=True, slots=True)
class Fault:
    """A canonical error as a client reads it.

    Attributes:
        code: The status code's name.
        reason: From ErrorInfo.
        message: The sentence.
        metadata: From ErrorInfo.
        retry_delay_s: From RetryInfo; None without one.
    """

    code: str
    reason: str
    message: str
    metadata: Mapping[str, str]
    retry_delay_s: float | None


def fault_of(error: grpc.aio.AioRpcError) -> Fault:
    """Read a failed call; fails unless it carries ErrorInfo of the domain ``arno``."""
    status = rpc_status.from_call(_Call(error))
    assert status is not None, f"no details in {error!r}"
    info = error_details_pb2.ErrorInfo()
    delay_s = None
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            delay_s = retry.retry_delay.ToMilliseconds() / 1000
    assert info.domain == "arno"
    return Fault(error.code().name, info.reason, status.message, dict(info.metadata), delay_s)


class _Call:
    # rpc_status reads a finished call; aio's error holds the same under the same names.
    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.trailing_metadata = error.trailing_metadata
        self.code = error.code
        self.details = error.details


def caption(**fields: object) -> types_pb2.TaskSpec:
    """A task that needs nothing but the image."""
    return types_pb2.TaskSpec(task=types_pb2.TASK_CAPTION, **fields)


def infer_request(
    *tasks: types_pb2.TaskSpec, content: bytes | None = None, **fields: object
) -> vision_pb2.InferRequest:
    """A request about an image of 64 x 48 pixels; one caption where no tasks are given."""
    return vision_pb2.InferRequest(
        image=types_pb2.Image(content=images.png() if content is None else content),
        tasks=tasks or (caption(),),
        **fields,
    )


def frame(
    sequence: int, content: bytes | None = None, **fields: object
) -> vision_pb2.InferStreamRequest:
    """A frame of a stream."""
    image = types_pb2.Image(content=images.png() if content is None else content)
    return vision_pb2.InferStreamRequest(
        frame=vision_pb2.Frame(sequence=sequence, timestamp_ms=sequence * 40, image=image, **fields)
    )


def config(*tasks: types_pb2.TaskSpec, **fields: object) -> vision_pb2.InferStreamRequest:
    """The first message of a stream."""
    return vision_pb2.InferStreamRequest(
        config=vision_pb2.StreamConfig(tasks=tasks or (caption(),), **fields)
    )
