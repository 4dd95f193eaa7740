"""Turn the status of a failed call into the error of `arno.errors` that the server raised."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

from arno.errors import ArnoError, Code, LimitExceededError
from arno.vocabulary.wire_results import rebuild_error

_DOMAIN: Final = "arno"

_TOO_LARGE: Final = re.compile(r"SERVER: Received message larger than max \((\d+) vs\. (\d+)\)")
"""What gRPC itself answers for a request that it does not even read."""

_LAST_ERROR: Final = re.compile(r".*last error: [A-Z_]+: (?:ipv[46]:\S+: )?(.+)", re.DOTALL)
"""What gRPC says of a connection that failed: its own account of all tries stands before it."""

_OTHER_SERVERS: Final = (
    (
        "http1.x server",
        "{address} speaks HTTP/1 and is no gateway; the port of a gateway is 50051 by default",
    ),
    (
        "WRONG_VERSION_NUMBER",
        "{address} speaks no TLS; call it without TLS, or name the port that speaks it",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the certificate of {address} is not trusted; name the file of its authority "
        "(--tls-ca; Tls(root_certificates=..) in Python)",
    ),
)
"""Parts of gRPC's words for a server of another kind, and the sentence for each."""


def from_rpc(error: grpc.RpcError, address: str) -> ArnoError:
    """Return the error behind a failed call; without ErrorInfo, that of gRPC's own refusal.

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
    if not reason and (sizes := _TOO_LARGE.search(details)) is not None:
        return LimitExceededError(
            field="request",
            problem="larger than this gateway takes (its image_bytes_max, and 4 MiB)",
            limit=f"{sizes[2]} bytes",
            sent=f"{sizes[1]} bytes",
        )
    if not reason:
        reason = code.name
        details = _explain(code, details, address)
        metadata["address"] = address
    retryable = code is Code.UNAVAILABLE
    return rebuild_error(reason, details, code=code, metadata=metadata, retryable=retryable)


def _explain(code: Code, details: str, address: str) -> str:
    if code is Code.UNAVAILABLE:
        return _unavailable(details, address)
    if code is Code.DEADLINE_EXCEEDED:
        # A server that is away is tried again until the timeout, so this may be its sentence too.
        return (
            f"no answer from {address} within the timeout; allow more time, "
            "or where no gateway runs there, start one with `arno up`"
        )
    if code is Code.UNIMPLEMENTED:
        return f"the server at {address} does not know this call; is it an Arno gateway? {details}"
    return details or f"the call to {address} failed with {code.name}"


def _unavailable(details: str, address: str) -> str:
    for part, sentence in _OTHER_SERVERS:
        if part in details:
            return sentence.format(address=address)
    found = _LAST_ERROR.match(details)
    said = found[1] if found is not None else details
    # Without a port gRPC tries 443, and says so only in the address that it found.
    port = "" if ":" in address else "; no port was named"
    return f"no Arno gateway answers at {address} (start one with `arno up`): {said}{port}"


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
        # A proxy changed the status but left the details, which belong to another error.
        return
    for packed in status.details if status is not None else ():
        for kind in (ErrorInfo, RetryInfo):
            detail = kind()
            if packed.Is(kind.DESCRIPTOR) and packed.Unpack(detail):
                yield detail
