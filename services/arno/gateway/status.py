"""Turn every fault into a gRPC status, here and nowhere else.

The status is a ``google.rpc.Status`` with ``ErrorInfo`` (domain ``arno``) and, where a retry makes
sense, ``RetryInfo``. Source: AIP-193 and AIP-194.

CANCELLED carries a push-back that forbids retries: one without it is gRPC's own, of a call that
came as a server stopped, and is worth sending again.
"""

from __future__ import annotations

import logging
import secrets
from typing import Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from arno.api.v1 import types_pb2
from arno.errors import FOREIGN_FAULT, ArnoError, BackendUnavailableError, Code
from arno.vocabulary.wire_results import error_to_wire

logger = logging.getLogger(__name__)

DOMAIN: Final = "arno"
_DETAIL_CHARS_MAX: Final = 1024
"""Metadata beyond some 8 KiB is refused by clients; no sentence of ours needs more than this."""

_NO_RETRY: Final = ("grpc-retry-pushback-ms", "-1")
"""Source: gRFC A6, "Pushback"."""


class JobFailedError(Exception):
    """A job ended without an answer; its stored error becomes the status of the call."""

    def __init__(self, error: types_pb2.Error) -> None:
        """Take the error as the worker or the store wrote it."""
        super().__init__(error.message)
        self.error = error


def unexpected_to_wire(error: BaseException) -> types_pb2.Error:
    """Log a fault of ours and return what the caller may know of it: an id to ask about."""
    error_id = secrets.token_hex(8)
    logger.error("unexpected failure", exc_info=error, extra={"error_id": error_id})
    return types_pb2.Error(
        code=Code.INTERNAL,
        reason="INTERNAL",
        message=f"an unexpected failure in the gateway; its log has it under error_id {error_id}",
        metadata={"error_id": error_id},
        retryable=False,
    )


def fault_to_wire(error: Exception) -> types_pb2.Error:
    """Return the message of any exception."""
    match error:
        case JobFailedError():
            return error.error
        case ArnoError() if FOREIGN_FAULT in error.metadata:
            return error_to_wire(_without_foreign_words(error))
        case ArnoError():
            return error_to_wire(error)
        case _:
            return unexpected_to_wire(error)


def _without_foreign_words(error: ArnoError) -> ArnoError:
    """Log what a backend's client said, hosts and all, and return what callers hear."""
    logger.warning("%s", error.message, extra=dict(error.metadata))
    kept = {
        name: value
        for name, value in error.metadata.items()
        if name in {"backend", "retry_delay_s"}
    }
    delay_s = float(kept.pop("retry_delay_s", "1"))
    sentence = "the bus or the result store does not answer"
    return BackendUnavailableError(sentence, retry_delay_s=delay_s, **kept)


def wire_to_status(error: types_pb2.Error) -> status_pb2.Status:
    """Return the rich status of an error."""
    metadata = {key: value[:_DETAIL_CHARS_MAX] for key, value in error.metadata.items()}
    message = error.message[:_DETAIL_CHARS_MAX]
    status = status_pb2.Status(code=_known_code(error.code), message=message)
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    )
    delay_s = _retry_delay_s(error)
    if delay_s is not None:
        delay = Duration()
        delay.FromMilliseconds(round(delay_s * 1000))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def wire_to_grpc(error: types_pb2.Error) -> grpc.Status:
    """Return what ``ServicerContext.abort_with_status`` takes."""
    status = rpc_status.to_status(wire_to_status(error))
    if status.code is grpc.StatusCode.CANCELLED:
        status = status._replace(trailing_metadata=(*status.trailing_metadata, _NO_RETRY))
    wired: grpc.Status = status
    return wired


def _known_code(number: int) -> int:
    # A newer worker may use a code that this gateway does not know; 0 would mean success.
    return number if number in set(Code) else Code.UNKNOWN


def _retry_delay_s(error: types_pb2.Error) -> float | None:
    try:
        return float(error.metadata["retry_delay_s"])
    except (KeyError, ValueError):
        return None
