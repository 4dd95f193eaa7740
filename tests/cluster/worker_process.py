"""Run a real worker process of a known pace: ``worker_process SETTINGS``.

Stands alone: it is run as a process.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from arno.engine.interface import Event
from arno.engine.null_engine import NullEngine
from arno.engine.settings import EngineSettings
from arno.worker.main import run_worker
from arno.worker.settings import WorkerSettings

JOBS_PER_S = 2.0


class PacedEngine(NullEngine):
    """Answers one job after the other, each in the same time."""

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings.model_copy(update={"batch_sequences_max": 1}))

    def step(self) -> Sequence[Event]:
        ended = super().step()
        if ended:
            time.sleep(1.0 / JOBS_PER_S)  # the pace that the manifests were written for
        return ended


def main() -> int:
    settings = WorkerSettings.model_validate_json(Path(sys.argv[1]).read_text())
    return run_worker(settings, make_engine=PacedEngine)


if __name__ == "__main__":
    sys.exit(main())
