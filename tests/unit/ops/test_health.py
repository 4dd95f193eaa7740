"""The probes and the metrics page, over a real socket."""

from __future__ import annotations

import platform
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from arno import __version__
from arno.errors import ConfigurationError
from arno.ops.health import HealthServer, Probes
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families


@pytest.fixture
def reasons() -> list[str]:
    return []


@pytest.fixture
def server(reasons: list[str]) -> Iterator[HealthServer]:
    registry = CollectorRegistry()
    Counter("arno_test_things", "Things.", registry=registry).inc(3)
    made = HealthServer(host="127.0.0.1", port=0, registry=registry, probes=Probes(lambda: reasons))
    made.start()
    yield made
    made.close()


def get(server: HealthServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_are_in_the_format_that_prometheus_reads(server: HealthServer) -> None:
    status, body = get(server, "/metrics")
    families = {family.name: family for family in text_string_to_metric_families(body)}
    assert status == 200
    assert families["arno_test_things"].samples[0].value == 3


def test_metrics_tell_process_and_build(server: HealthServer) -> None:
    _, body = get(server, "/metrics")
    families = {family.name: family for family in text_string_to_metric_families(body)}
    assert families["process_resident_memory_bytes"].samples[0].value > 0
    (build,) = families["arno_build_info"].samples
    assert build.value == 1
    assert build.labels["version"] == __version__
    assert build.labels["python"] == platform.python_version()


def test_readiness_follows_its_reasons_and_names_them(
    server: HealthServer, reasons: list[str]
) -> None:
    assert get(server, "/readyz") == (200, "ok\n")
    reasons.append("redis does not answer")
    assert get(server, "/readyz") == (503, "redis does not answer\n")
    assert get(server, "/livez") == (200, "ok\n")


def test_problems_are_told_beside_readiness_and_start_by_itself() -> None:
    server = HealthServer(
        host="127.0.0.1",
        port=0,
        registry=CollectorRegistry(),
        probes=Probes(
            not_started=lambda: ["the model loads"],
            problems=lambda: ["the bus does not answer"],
        ),
    )
    server.start()
    try:
        assert get(server, "/readyz") == (200, "ok\nthe bus does not answer\n")
        assert get(server, "/livez") == (200, "ok\n")
        assert get(server, "/startupz") == (503, "the model loads\n")
    finally:
        server.close()


def test_other_paths_say_what_there_is(server: HealthServer) -> None:
    status, body = get(server, "/")
    assert status == 404
    assert "/metrics" in body


def test_closing_twice_is_harmless(server: HealthServer) -> None:
    server.close()
    server.close()


def test_port_that_is_taken_is_named(server: HealthServer) -> None:
    with pytest.raises(ConfigurationError, match=f"metrics_port: .*127.0.0.1:{server.port}"):
        HealthServer(
            host="127.0.0.1",
            port=server.port,
            registry=CollectorRegistry(),
            probes=Probes(),
        )
