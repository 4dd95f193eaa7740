"""Every error of Arno becomes a canonical status, with its reason and its delay."""

from __future__ import annotations

import grpc
import pytest
from arno import errors
from arno.api.v1 import types_pb2
from arno.errors import ArnoError
from arno.gateway.status import fault_to_wire, wire_to_grpc, wire_to_status
from google.rpc import error_details_pb2

ARGUMENTS = {
    "InvalidFieldError": {
        "field": "tasks[0].text",
        "problem": "too long",
        "limit": "1",
        "sent": "2",
    },
    "UnknownJobError": {"job_id": "j"},
    "QuotaExceededError": {"quota": "jobs_in_flight", "limit": "2", "retry_delay_s": 0.5},
    "IdempotencyConflictError": {"key": "k", "job_id": "j"},
    "ImageLostError": {"sha256": "0" * 64},
    "UnknownModelError": {"model": "large", "served": "tiny"},
}


def every_class() -> list[type[ArnoError]]:
    found = [ArnoError]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == errors.__name__]


def build(kind: type[ArnoError]) -> ArnoError:
    names = [base.__name__ for base in kind.__mro__]
    arguments = next((ARGUMENTS[name] for name in names if name in ARGUMENTS), None)
    return kind("what happened", thing="7") if arguments is None else kind(**arguments)


@pytest.mark.parametrize("kind", every_class())
def test_error_becomes_a_status_with_its_code_reason_and_facts(kind):
    error = build(kind)
    status = wire_to_status(fault_to_wire(error))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (status.code, status.message) == (kind.code, error.message)
    assert (info.reason, info.domain) == (kind.reason, "arno")
    assert dict(info.metadata) == error.metadata
    assert len(info.reason) <= 63


@pytest.mark.parametrize("kind", every_class())
def test_only_errors_with_a_delay_carry_retry_info(kind):
    status = wire_to_status(fault_to_wire(build(kind)))
    kinds = [detail.type_url.rsplit(".", 1)[1] for detail in status.details]
    delayed = (errors.UnavailableError, errors.QuotaExceededError)
    assert ("RetryInfo" in kinds) == issubclass(kind, delayed)


def test_retry_delay_is_told_to_the_millisecond():
    status = wire_to_status(fault_to_wire(errors.OverloadedError("full", retry_delay_s=0.25)))
    delay = error_details_pb2.RetryInfo()
    status.details[1].Unpack(delay)
    assert delay.retry_delay.ToMilliseconds() == 250


def test_unexpected_exception_is_internal_and_keeps_its_secrets(caplog):
    error = fault_to_wire(RuntimeError("password"))
    assert (error.code, error.reason) == (errors.Code.INTERNAL, "INTERNAL")
    assert "password" not in str(error)
    assert vars(caplog.records[0])["error_id"] == error.metadata["error_id"]


@pytest.mark.parametrize("kind", [errors.BackendUnavailableError, errors.ConfigurationError])
def test_what_a_backend_said_is_logged_and_not_told(kind, caplog):
    found = fault_to_wire(kind("kafka: 10.0.0.3:9092 refuses user arno", fault="SaslError"))
    assert (found.reason, found.retryable) == ("BACKEND_UNAVAILABLE", True)
    assert dict(found.metadata) == {"retry_delay_s": "1"}
    assert "10.0.0.3" not in str(found)
    assert "10.0.0.3:9092 refuses" in caplog.text


def test_code_that_this_release_does_not_know_is_unknown_and_never_ok():
    for code in (0, 99):
        status = wire_to_grpc(types_pb2.Error(code=code, reason="NEW", message="m"))
        assert status.code is grpc.StatusCode.UNKNOWN


def test_only_a_cancelled_call_forbids_its_retry():
    def forbids(code: int) -> bool:
        status = wire_to_grpc(types_pb2.Error(code=code, reason="R", message="m"))
        return ("grpc-retry-pushback-ms", "-1") in status.trailing_metadata

    assert [code for code in range(1, 17) if forbids(code)] == [errors.Code.CANCELLED]


def test_long_sentence_is_cut_to_fit_into_metadata():
    error = types_pb2.Error(code=3, message="x" * 100_000, metadata={"sent": "y" * 100_000})
    assert wire_to_status(error).ByteSize() < 4096
