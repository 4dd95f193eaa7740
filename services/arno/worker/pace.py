"""Report how much work this worker completes in a second, so that gateways can predict waits."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Final

from arno.api.v1 import types_pb2
from arno.batching import Pace
from arno.errors import BackendUnavailableError
from arno.ops.clock import Clock
from arno.results.worker_store import WorkerStore

_LOOK_S: Final = 0.25
_LOOKS_A_REPORT: Final = 4


class PaceReporter:
    """Measures while work waits: time without a queue does not show what could be done in it."""

    def __init__(
        self,
        writer: WorkerStore,
        clock: Clock,
        *,
        waiting: Callable[[], bool],
        model: types_pb2.Model,
    ) -> None:
        """Take the store, the time, what returns whether work waits, and the model's name."""
        self._writer = writer
        self._clock = clock
        self._waiting = waiting
        self._model = model
        self._worker = secrets.token_hex(8)
        self._measuring = threading.Lock()
        self._pace = Pace(cost_per_s=0.0)
        self._stopped = threading.Event()

    def done(self, cost: float) -> None:
        """Note that a job of this predicted cost has ended. Any thread."""
        with self._measuring:
            self._pace.done(cost, self._clock.monotonic_s())

    def run(self) -> None:
        """Look and report until stopped: the body of a thread."""
        looks = 0
        while not self._stopped.wait(_LOOK_S):
            self._look()
            looks += 1
            if looks % _LOOKS_A_REPORT == 0:
                self._report()

    def stop(self) -> None:
        """Let the thread end."""
        self._stopped.set()

    def _look(self) -> None:
        with self._measuring:
            if self._waiting():
                self._pace.busy()
            else:
                self._pace.idle()

    def _report(self) -> None:
        try:
            self._writer.report_pace(self._worker, self._pace.cost_per_s, self._model)
        except BackendUnavailableError:
            return  # the next second will do
