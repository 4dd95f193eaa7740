"""Compose a worker process: load and warm the model, then join, work, drain, leave."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

from prometheus_client import CollectorRegistry

from arno.bus import make_consumer, make_publisher
from arno.engine import Engine, create_engine
from arno.ops.config import chosen, effective
from arno.ops.health import HealthServer, Probes
from arno.ops.logs import configure_logs
from arno.ops.process_limits import share_interpreter
from arno.ops.tracing import configure_tracing, current_trace_id
from arno.results.worker_store import WorkerStore
from arno.worker.heartbeat import SILENCE_SHARE
from arno.worker.metrics import WorkerMetrics
from arno.worker.settings import WorkerSettings
from arno.worker.worker import Worker, WorkerParts

logger = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class _Departure:
    """The first signal asks the worker to leave, the second ends the process at once.

    Handlers are set explicitly, since the kernel keeps signals without one from process 1.
    """

    def __init__(self) -> None:
        self.asked = False
        self._worker: Worker | None = None
        for number in _SIGNALS:
            signal.signal(number, self._handle)

    def reaches(self, worker: Worker) -> None:
        self._worker = worker
        if self.asked:
            worker.stop()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            os._exit(128 + number)
        self.asked = True
        if self._worker is None:
            # No job is in flight while the model loads, and loading cannot be interrupted.
            os._exit(0)
        self._worker.stop()


def run_worker(
    settings: WorkerSettings, *, make_engine: Callable[[WorkerSettings], Engine] = create_engine
) -> int:
    """Run a worker until a signal ends it; return the exit status of the process.

    Args:
        settings: The worker's settings.
        make_engine: Loads the model.

    Raises:
        ModelError: The model cannot be served.
        MissingExtraError: A part of Arno is not installed.
    """
    began_s = time.monotonic()
    configure_logs(
        "worker",
        level=settings.log_level,
        log_format=settings.log_format,
        trace_id=current_trace_id,
    )
    configure_tracing("worker")
    share_interpreter()
    departure = _Departure()
    logger.info("starts: %s", chosen(settings), extra={"settings": effective(settings)})
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry, tenants_max=settings.metrics_tenants_max)
    current: list[Worker] = []
    health = HealthServer(
        host=settings.metrics_host,
        port=settings.metrics_port,
        registry=registry,
        probes=Probes(
            not_ready=lambda: current[0].not_ready() if current else ["the model loads"],
            not_alive=lambda: current[0].not_alive() if current else [],
            not_started=lambda: [] if current else ["the model loads"],
            problems=lambda: current[0].problems() if current else [],
        ),
    )
    health.start()
    logger.info("probes and metrics", extra={"port": health.port})
    engine = make_engine(settings)
    engine.warm_up()
    metrics.cold_start.set(time.monotonic() - began_s)
    logger.info("the model is warm", extra={"model": engine.card.name})
    writer = WorkerStore(settings, silence_s=SILENCE_SHARE * settings.claim_timeout_s)
    worker = Worker(
        WorkerParts(
            engine=engine,
            consumers={lane: make_consumer(settings, [lane]) for lane in settings.lanes},
            writer=writer,
            make_publisher=lambda: make_publisher(settings),
            metrics=metrics,
        ),
        settings,
    )
    current.append(worker)
    departure.reaches(worker)
    try:
        worker.run()
    except RuntimeError:
        logger.exception("the worker failed")
        return 1
    finally:
        health.close()
        writer.close()
    engine.close()
    return 0
