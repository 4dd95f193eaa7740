"""Who is let in by method and headers; and what a gateway without protection says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from arno.errors import QuotaExceededError, UnauthenticatedError
from arno.gateway.access.access import exposure_warnings
from arno.gateway.access.api_key import new_key
from arno.gateway.access.gatekeeper import Gatekeeper
from arno.gateway.access.key_file import KeyEntry, KeyFile, TenantLimits, change_key_file
from arno.gateway.access.key_ring import KeyRing
from arno.gateway.access.quotas import TenantQuotas
from arno.gateway.calls import ANONYMOUS, Caller
from arno.gateway.settings import AccessSettings
from support.clock import ManualClock

INFER = "/arno.api.v1.VisionService/Infer"
HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


@pytest.fixture
def key():
    return new_key()


@pytest.fixture
def ring(tmp_path, key):
    path = tmp_path / "keys.json"
    kept = KeyEntry(
        id=key.id, tenant="acme", sha256=key.sha256, created_at=datetime(2030, 1, 1, tzinfo=UTC)
    )
    tenants = {"acme": TenantLimits(requests_per_s=2)}
    change_key_file(path, lambda _: KeyFile(tenants=tenants, keys=(kept,)))
    return KeyRing(path, check_interval_s=1)


@pytest.fixture
def gate(ring):
    return Gatekeeper(ring, TenantQuotas(ring.limits, clock=ManualClock()))


@pytest.mark.parametrize(
    "header",
    [
        lambda text: ("authorization", f"Bearer {text}"),
        lambda text: ("authorization", f"bearer {text}"),
        lambda text: ("x-api-key", text),
        lambda text: ("x-api-key", text.encode()),
    ],
)
def test_key_is_taken_from_either_header(gate, key, header):
    metadata = [("user-agent", "x"), header(key.text)]
    assert gate.identify(INFER, metadata) == Caller("acme", key.id)


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ([], "missing"),
        ([("authorization", "Basic YTpi")], "unknown"),
        ([("authorization", "")], "unknown"),
        ([("x-api-key", "")], "unknown"),
        ([("x-api-key", "a"), ("x-api-key", "b")], "ambiguous"),
        ([("x-api-key", "a"), ("authorization", "Bearer b")], "ambiguous"),
    ],
)
def test_call_without_one_key_is_refused_by_its_problem(gate, metadata, problem):
    with pytest.raises(UnauthenticatedError) as caught:
        gate.identify(INFER, metadata)
    assert caught.value.metadata["problem"] == problem


def test_health_is_open_and_reflection_as_it_is_set(ring, gate):
    assert gate.identify(HEALTH, []) == gate.identify(REFLECTION, []) == ANONYMOUS
    shut = Gatekeeper(ring, TenantQuotas(ring.limits), reflection_open=False)
    assert shut.identify(HEALTH, []) == ANONYMOUS
    with pytest.raises(UnauthenticatedError):
        shut.identify(REFLECTION, [])


def test_method_nobody_thought_of_needs_a_key(gate):
    for path in ("/new.Service/Method", "/grpc.health.v1.HealthX/Check", "/grpc.reflectionX/M"):
        with pytest.raises(UnauthenticatedError):
            gate.identify(path, [])


def test_everybody_may_call_while_there_is_no_keys_file():
    gate = Gatekeeper(None, TenantQuotas(lambda _: TenantLimits()))
    assert gate.identify(INFER, [("x-api-key", "whatever")]) == ANONYMOUS
    gate.admit(ANONYMOUS)


def test_calls_and_frames_are_counted_together(gate, key):
    caller = gate.identify(INFER, [("x-api-key", key.text)])
    gate.admit(caller)
    gate.admit(caller)
    with pytest.raises(QuotaExceededError, match="requests_per_s"):
        gate.admit(caller)


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/run/a"])
def test_loopback_needs_no_warning(listen):
    assert exposure_warnings(listen, AccessSettings()) == []


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "gateway:1"])
def test_each_missing_protection_is_named(listen):
    file = Path("file")
    tls = {"tls_server_cert": file, "tls_server_key": file}
    bare, keyed, encrypted, safe = (
        " ".join(exposure_warnings(listen, AccessSettings(**fields)))
        for fields in ({}, {"keys_file": file}, tls, {"keys_file": file, **tls})
    )
    assert "without TLS" in bare
    assert "without API keys" in bare
    assert "answers and API keys travel readable" in keyed
    assert "without API keys" not in keyed
    assert "without TLS" not in encrypted
    assert "without API keys" in encrypted
    assert safe == ""
