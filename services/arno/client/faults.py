"""Rebuild the server's errors, from gRPC statuses and answers, as classes of `arno.errors`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

from arno.api.v1 import types_pb2 as pb
from arno.errors import (
    ArnoError,
    Code,
    InvalidFieldError,
    QuotaExceededError,
    UnavailableError,
)

_DOMAIN: Final = "arno"
_RETRY_DELAY_S: Final = 1.0


def rebuild(
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


def from_message(error: pb.Error) -> ArnoError:
    """Return the error of one task, frame or job."""
    return rebuild(
        error.reason,
        error.message,
        code=error.code,
        metadata=error.metadata,
        retryable=error.retryable,
    )


def from_rpc(error: grpc.RpcError, address: str) -> ArnoError:
    """Return the error behind a failed call; without ErrorInfo, the nearest class by status code.

    Args:
        error: What a call raised: it is the call as well.
        address: Where the call went, for the sentence about a server that does not answer.
    """
    code = _code(error)
    details = (error.details() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else "") or ""
    metadata: dict[str, str] = {}
    reason = ""
    for detail in _details(error):
        if isinstance(detail, ErrorInfo) and detail.domain == _DOMAIN:
            reason = detail.reason
            metadata |= dict(detail.metadata)
        elif isinstance(detail, RetryInfo):
            metadata.setdefault("retry_delay_s", f"{detail.retry_delay.ToMilliseconds() / 1000:g}")
    if not reason:
        reason = code.name
        details = _explain(code, details, address)
        metadata["address"] = address
    retryable = code is Code.UNAVAILABLE
    return rebuild(reason, details, code=code, metadata=metadata, retryable=retryable)


def _explain(code: Code, details: str, address: str) -> str:
    if code is Code.UNAVAILABLE:
        return f"no Arno gateway answers at {address} (start one with `arno up`): {details}"
    if code is Code.DEADLINE_EXCEEDED:
        # A server that is away is tried again until the timeout, so this may be its sentence too.
        return (
            f"no answer from {address} within the timeout; allow more time, "
            "or where no gateway runs there, start one with `arno up`"
        )
    if code is Code.UNIMPLEMENTED:
        return f"the server at {address} does not know this call; is it an Arno gateway? {details}"
    return details or f"the call to {address} failed with {code.name}"


def _code(error: grpc.RpcError) -> Code:
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return Code.UNKNOWN
    number = error.code().value[0]
    return Code(number) if number in set(Code) else Code.UNKNOWN


def _details(error: grpc.RpcError) -> Iterator[ErrorInfo | RetryInfo]:
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return
    try:
        status = rpc_status.from_call(error)
    except ValueError:
        # A proxy between us changed the status but left the details: they belong to another fault.
        return
    for packed in status.details if status is not None else ():
        for kind in (ErrorInfo, RetryInfo):
            detail = kind()
            if packed.Is(kind.DESCRIPTOR) and packed.Unpack(detail):
                yield detail


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
