"""The processes of one scenario: gateways and workers, and a Prometheus that watches them alone."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from arno.gateway.settings import GatewaySettings
from arno.ops.ports import free_port
from arno.worker.settings import WorkerSettings
from chaos.parts import ProcessPart
from chaos.schedule import Part
from support.builders import with_topics
from support.kafka_broker import KafkaBroker
from support.prometheus_server import PrometheusServer
from support.redis_server import RedisServer

_TESTS = Path(__file__).parents[1]
_NOTHING: Mapping[str, object] = {}
_MACHINES_OWN = {key: value for key, value in os.environ.items() if not key.startswith("ARNO_")}


@dataclass(frozen=True, slots=True)
class Servers:
    """What the installations share.

    Attributes:
        broker: Each has topics of its own.
        redis: Each has keys of its own.
    """

    broker: KafkaBroker
    redis: RedisServer


@dataclass(slots=True)
class Installation:
    """Real processes, scraped by a real Prometheus. Main thread only.

    Attributes:
        gateways: By the port that they serve on.
        workers: In the order of their numbers.
        redis: Its result store, which only this installation uses if it may be killed.
        prometheus: Scrapes these gateways and workers.
    """

    gateways: dict[int, ProcessPart]
    workers: list[ProcessPart]
    redis: RedisServer
    prometheus: PrometheusServer

    @property
    def addresses(self) -> list[str]:
        """Where the gateways listen."""
        return [f"127.0.0.1:{port}" for port in self.gateways]

    def start(self) -> None:
        """Start everything; what is killed later is started again only by `keep_workers`."""
        self.redis.start()
        for part in (*self.gateways.values(), *self.workers):
            part.launch()
        self.prometheus.launch()

    def keep_workers(self) -> None:
        """Start again the workers that have ended, as a platform does."""
        for worker in self.workers:
            if not worker.running:
                worker.launch()

    def stop(self) -> None:
        """End everything that it started; shared servers go on."""
        self.prometheus.stop()
        for part in (*self.gateways.values(), *self.workers):
            part.kill()


def install(
    folder: Path,
    servers: Servers,
    *,
    gateways: int,
    workers: int,
    redis: RedisServer | None = None,
    engine: str = "observe.worker_process",
    shared: Mapping[str, object] = _NOTHING,
    of_workers: Mapping[str, object] = _NOTHING,
) -> Installation:
    """Write the settings of an installation; nothing of it runs yet.

    Args:
        folder: Made here; settings and logs land in it.
        servers: The broker and the store.
        gateways: How many there are.
        workers: How many there are.
        redis: A store of its own.
        engine: The module that is run as a worker, with the file of its settings.
        shared: Settings of all processes that are other than here.
        of_workers: Settings of workers.
    """
    folder.mkdir(parents=True)
    redis = redis or servers.redis
    name = f"observe-{uuid.uuid4().hex[:8]}"
    shared = {
        "bus": "kafka",
        "kafka_bootstrap": servers.broker.bootstrap,
        "redis_url": redis.url,
        "topic_prefix": name,
        "redis_key_prefix": name,
        "group": name,
        "partitions": 4,
        "replication": 1,
        "log_format": "json",
        **shared,
    }
    metrics_ports = [free_port() for _ in range(gateways + workers)]
    running = [_gateway(folder, shared, port) for port in metrics_ports[:gateways]]
    files = [
        _worker_file(folder, {**shared, **of_workers}, number, port)
        for number, port in enumerate(metrics_ports[gateways:])
    ]
    with_topics(WorkerSettings.model_validate_json(files[0].read_text()))
    targets = {"gateway": metrics_ports[:gateways], "worker": metrics_ports[gateways:]}
    return Installation(
        gateways=dict(running),
        workers=[_process(Part.WORKER, [engine, file], file) for file in files],
        redis=redis,
        prometheus=PrometheusServer(folder / "prometheus", targets),
    )


def _gateway(
    folder: Path, shared: Mapping[str, object], metrics_port: int
) -> tuple[int, ProcessPart]:
    port = free_port()
    settings = GatewaySettings(**shared, listen=f"127.0.0.1:{port}", metrics_port=metrics_port)
    flags = [
        word
        for name, value in settings.model_dump(exclude_unset=True).items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    command = ["arno.cli", "gateway", *flags]
    return port, _process(Part.GATEWAY, command, folder / f"gateway-{port}")


def _worker_file(folder: Path, given: Mapping[str, object], number: int, metrics_port: int) -> Path:
    settings = WorkerSettings(**given, model="null", metrics_port=metrics_port, drain_s=5.0)
    file = folder / f"worker-{number}.json"
    file.write_text(settings.model_dump_json())
    return file


def _process(part: Part, module: list[str | Path] | list[str], name: Path) -> ProcessPart:
    return ProcessPart(
        part,
        [sys.executable, "-m", *module],
        log=name.with_suffix(".log"),
        environment={**_MACHINES_OWN, "PYTHONPATH": str(_TESTS)},
    )
