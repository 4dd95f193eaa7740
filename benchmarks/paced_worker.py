"""A worker whose engine takes its time: the null engine's answers, at the pace of a real batch.

`python -m benchmarks.paced_worker worker` is `arno worker` with this engine. A sequence takes so
many steps, a step takes so long, a batch has so many places, and who is next is said by the
scheduler of the real engine.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import click
from arno.batching import Budget, Entry, LanePolicy, Scheduler
from arno.cli.settings_names import KNOWN_SETTINGS
from arno.engine.interface import SequenceFinished, SequenceProgress, SequenceRequest
from arno.engine.null_engine import NullEngine
from arno.engine.settings import EngineSettings
from arno.ops.flags import settings_options
from arno.worker.main import run_worker
from arno.worker.settings import WorkerSettings

STEP_S: Final = 0.01
STEP_COUNT: Final = 10
PLACE_COUNT: Final = 8


class PacedEngine(NullEngine):
    """Answers `PLACE_COUNT` sequences at a time, each after `STEP_COUNT` steps."""

    def __init__(self, settings: EngineSettings) -> None:
        """Begin with an empty batch."""
        super().__init__(settings)
        self._scheduler = Scheduler(LanePolicy())
        self._queued: dict[str, SequenceRequest] = {}
        self._steps_left: dict[str, int] = {}

    def submit(self, request: SequenceRequest) -> None:
        """Queue a sequence."""
        self._queued[request.sequence_id] = request
        self._scheduler.admit(
            Entry(
                entry_id=request.sequence_id,
                lane=request.lane,
                tenant=request.tenant,
                arrived_s=time.monotonic(),
                deadline_s=request.deadline_s,
                group_key="one",
                cost=float(request.expected_token_count),
            )
        )

    def step(self) -> Sequence[SequenceProgress | SequenceFinished]:
        """Take in who is next, and work for the length of a step."""
        free = PLACE_COUNT - len(self._steps_left)
        if free:
            for entry in self._scheduler.schedule(Budget(free), time.monotonic()).group:
                self._steps_left[entry.entry_id] = STEP_COUNT
        if not self._steps_left:
            return ()
        time.sleep(STEP_S)
        for name in self._steps_left:
            self._steps_left[name] -= 1
        ended = [name for name, left in self._steps_left.items() if not left]
        for name in ended:
            del self._steps_left[name]
            super().submit(self._queued.pop(name))
        return super().step() if ended else ()


@click.group()
def _verbs() -> None:
    """Stand in for `arno`."""


@_verbs.command("worker")
@settings_options(WorkerSettings, process="worker", known_elsewhere=KNOWN_SETTINGS)
def _worker(settings: WorkerSettings) -> int:
    return run_worker(settings, make_engine=PacedEngine)


if __name__ == "__main__":
    _verbs()
