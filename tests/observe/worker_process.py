"""Run a real worker process whose engine has no model: ``worker_process SETTINGS``.

Stands alone: it is run as a process.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from arno.engine.interface import SequenceRequest
from arno.engine.null_engine import NullEngine
from arno.worker.main import run_worker
from arno.worker.settings import WorkerSettings

KILLING_PROMPT = "kill the process"


class MortalEngine(NullEngine):
    """Answers at once; a certain prompt kills the process."""

    def submit(self, request: SequenceRequest) -> None:
        if request.prompt == KILLING_PROMPT:
            os.kill(os.getpid(), signal.SIGKILL)
        super().submit(request)


def main() -> int:
    settings = WorkerSettings.model_validate_json(Path(sys.argv[1]).read_text())
    return run_worker(settings, make_engine=MortalEngine)


if __name__ == "__main__":
    sys.exit(main())
