"""Run a real worker process whose engine has no model: ``worker_process SETTINGS``.

Stands alone: it is run as a process.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from arno.engine.interface import Event, SequenceFinished, SequenceRequest
from arno.engine.null_engine import NullEngine
from arno.errors import EngineError
from arno.vocabulary import FinishReason
from arno.worker.main import run_worker
from arno.worker.settings import WorkerSettings

KILLING_PROMPT = "kill the process"
BREAKING_PROMPT = "break the engine"


class MortalEngine(NullEngine):
    """Answers at once; one prompt kills the process, another one lets all that follow fail."""

    _broken = False

    def submit(self, request: SequenceRequest) -> None:
        if request.prompt == KILLING_PROMPT:
            os.kill(os.getpid(), signal.SIGKILL)
        self._broken = self._broken or request.prompt == BREAKING_PROMPT
        super().submit(request)

    def step(self) -> Sequence[Event]:
        ended = super().step()
        return [_failed(event) for event in ended] if self._broken else ended


def _failed(event: Event) -> Event:
    assert isinstance(event, SequenceFinished)
    fault = EngineError("the device is broken")
    return dataclasses.replace(
        event, token_ids=(), logprobs=(), finish_reason=FinishReason.ERROR, error=fault
    )


def main() -> int:
    settings = WorkerSettings.model_validate_json(Path(sys.argv[1]).read_text())
    return run_worker(settings, make_engine=MortalEngine)


if __name__ == "__main__":
    sys.exit(main())
