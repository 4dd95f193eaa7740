import grpc
import pytest
from arno.api.v1 import types_pb2
from arno.client.faults import from_rpc
from arno.errors import (
    ArnoError,
    Code,
    DeadlineExceededError,
    InvalidFieldError,
    LimitExceededError,
    OverloadedError,
    QuotaExceededError,
    UnavailableError,
    UnknownJobError,
)
from arno.vocabulary.wire_results import error_from_wire, rebuild_error


def classes(kind=ArnoError):
    # Processes have errors of their own, which no server sends; one without a reason of its own
    # comes back as the error whose reason it has.
    children = [
        child
        for child in kind.__subclasses__()
        if child.__module__ == "arno.errors" and ("reason" in vars(child) or child.__subclasses__())
    ]
    return [kind, *(found for child in children for found in classes(child))]


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_every_error_of_the_server_comes_back_as_its_own_class(kind):
    error = rebuild_error(kind.reason, "a sentence", code=kind.code, metadata={"a": "b"})
    assert type(error) is kind
    assert str(error) == error.message == "a sentence"
    assert error.metadata == {"a": "b"}


def test_field_of_a_refused_request_is_known():
    metadata = {"field": "tasks[0].text", "problem": "too long"}
    error = rebuild_error("LIMIT_EXCEEDED", "…", code=3, metadata=metadata)
    assert isinstance(error, LimitExceededError)
    assert (error.field, error.problem) == ("tasks[0].text", "too long")


@pytest.mark.parametrize("kind", [OverloadedError, QuotaExceededError])
def test_delay_after_which_a_retry_makes_sense_is_known(kind):
    error = rebuild_error(kind.reason, "full", code=kind.code, metadata={"retry_delay_s": "2.5"})
    assert isinstance(error, kind)
    assert error.retry_delay_s == 2.5
    assert error.retryable


def test_reason_of_a_newer_server_keeps_name_and_code():
    error = rebuild_error("QUOTA_SPENT", "no more", code=8, metadata={}, retryable=True)
    assert isinstance(error, ArnoError)
    assert (error.reason, error.code, error.retryable) == (
        "QUOTA_SPENT",
        Code.RESOURCE_EXHAUSTED,
        True,
    )


def test_error_of_a_task_comes_back_as_its_class():
    wire = types_pb2.Error(code=5, reason="JOB_NOT_FOUND", message="none", metadata={"job_id": "j"})
    error = error_from_wire(wire)
    assert isinstance(error, UnknownJobError)
    assert error.metadata["job_id"] == "j"


def test_classes_can_be_caught_by_their_family():
    assert isinstance(rebuild_error("DRAINING", "", code=14, metadata={}), UnavailableError)
    assert isinstance(rebuild_error("INVALID_IMAGE", "", code=3, metadata={}), InvalidFieldError)
    assert isinstance(
        rebuild_error("DEADLINE_EXCEEDED", "", code=4, metadata={}), DeadlineExceededError
    )


_TRIED = "connections to all backends failing; last error: "


@pytest.mark.parametrize(
    ("details", "said"),
    [
        (
            f"{_TRIED}UNKNOWN: ipv4:127.0.0.1:8080: Failed to connect: Connection refused",
            "no Arno gateway answers at 127.0.0.1:8080 (start one with `arno up`): "
            "Failed to connect: Connection refused",
        ),
        (
            f"{_TRIED}PERMISSION_DENIED: ipv4:127.0.0.1:8080: Failed parsing HTTP/2 "
            "(Trying to connect an http1.x server (HTTP status 403))",
            "127.0.0.1:8080 speaks HTTP/1 and is no gateway; "
            "the port of a gateway is 50051 by default",
        ),
        (
            f"{_TRIED}UNKNOWN: ipv4:127.0.0.1:8080: Tls handshake failed: WRONG_VERSION_NUMBER",
            "127.0.0.1:8080 speaks no TLS; call it without TLS, or name the port that speaks it",
        ),
    ],
    ids=["nothing listens", "a web server", "a server without TLS"],
)
def test_server_that_is_no_gateway_is_told_in_words_of_ours(details, said):
    assert from_rpc(unavailable(details), "127.0.0.1:8080").message == said


def test_address_without_a_port_is_told():
    details = f"{_TRIED}UNKNOWN: ipv4:127.0.0.1:443: Failed to connect: Connection refused"
    assert from_rpc(unavailable(details), "localhost").message.endswith("; no port was named")


def unavailable(details):
    metadata = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, metadata, metadata, details=details)
