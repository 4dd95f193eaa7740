"""Workers for tests: one inside the test's process, or as a child that may be killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from arno.bus import make_consumer, make_publisher
from arno.engine import Engine, create_engine
from arno.results.worker_store import WorkerStore
from arno.worker.heartbeat import SILENCE_SHARE
from arno.worker.metrics import WorkerMetrics
from arno.worker.settings import WorkerSettings
from arno.worker.worker import Worker, WorkerParts
from prometheus_client import CollectorRegistry
from support import tied_process
from support.eventually import eventually
from support.gated_engine import GatedEngine

_TESTS = Path(__file__).parents[1]


class RunningWorker:
    """A worker on threads of the test's process, from ``with`` to the end of it."""

    def __init__(self, settings: WorkerSettings, gate: Path) -> None:
        self.registry = CollectorRegistry()
        self.engine: Engine = GatedEngine(create_engine(settings), gate)
        self._writer = WorkerStore(settings, silence_s=SILENCE_SHARE * settings.claim_timeout_s)
        self.worker = Worker(
            WorkerParts(
                engine=self.engine,
                consumers={lane: make_consumer(settings, [lane]) for lane in settings.lanes},
                writer=self._writer,
                make_publisher=lambda: make_publisher(settings),
                metrics=WorkerMetrics(self.registry),
            ),
            settings,
        )
        self.drained: bool | None = None
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="worker")

    def __enter__(self) -> RunningWorker:
        self._thread.start()
        eventually(lambda: not self.worker.not_ready(), what="the worker is ready")
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Drain and stop. Idempotent."""
        self.worker.stop()
        self._thread.join(60)
        self._writer.close()

    def counts(self, metric: str) -> dict[str, float]:
        """Return the samples of a metric that are not 0, by the value of their only label."""
        return {
            next(iter(sample.labels.values()), ""): sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == metric and sample.value
        }

    def _run(self) -> None:
        try:
            self.drained = self.worker.run()
        except RuntimeError as error:
            self.failure = error


def start_child(
    settings: WorkerSettings, gate: Path, folder: Path, name: str
) -> subprocess.Popen[bytes]:
    """Start a worker process; its log is ``NAME.log`` in the folder."""
    file = folder / f"{name}.json"
    file.write_text(settings.model_dump_json())
    environment = {**os.environ, "PYTHONPATH": str(_TESTS)}
    return tied_process.start_tied(
        [sys.executable, "-m", "support.worker_child", file, gate],
        log=folder / f"{name}.log",
        environment=environment,
    )
