"""The metrics of the server processes and of a training run, as their code declares them."""

from __future__ import annotations

from dataclasses import dataclass

from arno.bus.ports import ConsumerStatistics
from arno.engine.interface import EngineStatistics
from arno.gateway.backlog import Backlog
from arno.gateway.metrics import BacklogCollector, GatewayMetrics
from arno.ingest.metrics import IngestMetrics
from arno.notify.metrics import NotifyMetrics
from arno.ops.health import register_process_metrics
from arno.training.trainer.metrics import TrainMetrics
from arno.web.metrics import WebMetrics
from arno.worker.metrics import Readings, WorkerMetrics
from prometheus_client import CollectorRegistry


@dataclass(frozen=True, slots=True)
class DeclaredMetric:
    """One metric family: its name as scraped (counters with ``_total``) and its type."""

    name: str
    kind: str


def declared_metrics() -> list[DeclaredMetric]:
    """Return every metric of the server processes and of training, and those that all have."""
    found = []
    for family in fresh_registry().collect():
        suffix = "_total" if family.type == "counter" else ""
        found.append(DeclaredMetric(family.name + suffix, family.type))
    return sorted(found, key=lambda metric: metric.name)


def fresh_series() -> dict[str, list[dict[str, str]]]:
    """Return the labels of all series that processes show before they have done anything."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in fresh_registry().collect():
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def fresh_registry() -> CollectorRegistry:
    """Return a registry with all metrics, as they are when a process has started."""
    registry = CollectorRegistry()
    GatewayMetrics(registry)
    registry.register(BacklogCollector(_no_backlog()))
    worker = WorkerMetrics(registry)
    worker.follow(_idle_worker())
    TrainMetrics(registry)
    IngestMetrics(registry)
    NotifyMetrics(registry)
    WebMetrics(registry)
    register_process_metrics(registry)
    return registry


def _no_backlog() -> Backlog:
    async def unasked() -> dict[str, int]:
        return {}

    async def unheard() -> list[float]:
        return []

    return Backlog(unfinished=unasked, paces=unheard, interval_s=1.0)


def _idle_worker() -> Readings:
    engine = EngineStatistics(**dict.fromkeys(EngineStatistics.__dataclass_fields__, 0))
    consumer = ConsumerStatistics(
        unfinished_count=0,
        paused=False,
        partition_count=0,
        stale_done_count=0,
        redelivered_count=0,
        rebalance_count=0,
        lag={"interactive": 0},
    )
    return Readings(
        busy_s=lambda: 0.0,
        running_jobs=lambda: 0,
        engine=lambda: engine,
        store_up=lambda: True,
        consumers={"interactive": lambda: consumer},
    )
