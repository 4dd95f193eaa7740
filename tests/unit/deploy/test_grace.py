"""No platform kills a process that still drains: every grace is longer than the worst drain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from arno.bus.kafka import consumer as kafka_consumer
from arno.bus.kafka import publisher as kafka_publisher
from arno.bus.kafka import sender as kafka_sender
from arno.gateway import lifecycle
from arno.gateway.settings import GatewaySettings
from arno.ingest.settings import IngestSettings
from arno.web.settings import WebSettings
from arno.worker import heartbeat, worker
from arno.worker.settings import WorkerSettings
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
STREAMS: dict[str, Any] = yaml.safe_load((ROOT / "examples/streams/compose.yaml").read_text())
SHARED: dict[str, str] = COMPOSE["x-process"]["environment"]

# What libraries take beside their own time-outs, where a broker or a store hangs.
_LIBRARIES_S = 10.0


def gateway_drain_s(variables: dict[str, str]) -> float:
    defaults = GatewaySettings()
    return (
        float(variables.get("ARNO_DRAIN_NOTICE_S", defaults.drain_notice_s))
        + float(variables.get("ARNO_DRAIN_S", defaults.drain_s))
        + lifecycle.QUIET_S_MAX
        + lifecycle.CLOSE_S
        + kafka_sender.CLOSE_TIMEOUT_S
        + kafka_publisher.PING_TIMEOUT_S
        + _LIBRARIES_S
    )


def worker_drain_s(variables: dict[str, str]) -> float:
    return (
        float(variables.get("ARNO_DRAIN_S", WorkerSettings().drain_s))
        + kafka_consumer.CLOSE_TIMEOUT_MS / 1000
        + worker.LEAVE_S
        + heartbeat.REPORT_S
        + _LIBRARIES_S
    )


def default_s(kind: type[BaseModel], field: str) -> float:
    found: float = kind.model_fields[field].default
    return found + _LIBRARIES_S


DRAINS = {"gateway": gateway_drain_s, "worker": worker_drain_s}


@pytest.mark.parametrize("name", DRAINS)
def test_kubernetes_waits_longer_than_the_worst_drain(name: str) -> None:
    objects = yaml.safe_load_all((ROOT / f"k8s/base/{name}.yaml").read_text())
    deployment = next(one for one in objects if one["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    variables = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}
    assert pod["terminationGracePeriodSeconds"] > DRAINS[name](variables)


@pytest.mark.parametrize("name", DRAINS)
def test_compose_waits_longer_than_the_worst_drain(name: str) -> None:
    service = COMPOSE["services"][name]
    variables = {**SHARED, **service.get("environment", {})}
    grace = service["stop_grace_period"]
    assert grace.endswith("s")
    assert float(grace[:-1]) > DRAINS[name](variables)


def test_the_web_and_streams_have_time_to_end_what_they_hold() -> None:
    web_s = default_s(WebSettings, "web_drain_s")
    text = (ROOT / "k8s/components/web/web.yaml").read_text()
    pod = next(yaml.safe_load_all(text))["spec"]["template"]["spec"]
    # It closes its listener at SIGTERM, while proxies still send requests.
    pause_s = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pause_s >= 5
    assert pod["terminationGracePeriodSeconds"] > pause_s + web_s
    assert float(COMPOSE["services"]["web"]["stop_grace_period"][:-1]) > web_s
    ingest_s = default_s(IngestSettings, "drain_s")
    assert float(STREAMS["services"]["ingest"]["stop_grace_period"][:-1]) > ingest_s
