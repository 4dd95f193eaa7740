"""A worker that is slow at captions: `python -m benchmarks.streams.slow_worker worker`.

The null engine's answers; of each kind of caption one every two seconds, all else at once. Stands
alone: it is a process.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from arno.engine.interface import Event, SequenceRequest
from arno.engine.null_engine import NullEngine
from arno.engine.sequences.waiting_sequences import WaitingSequences
from arno.engine.settings import EngineSettings
from arno.ops.clock import SYSTEM_CLOCK
from arno.vocabulary import CATALOGUE, Task

from benchmarks.paced_worker import worker_verbs

ANSWER_S: Final = 2.0
SLOW_TASKS: Final = (Task.CAPTION, Task.DETAILED_CAPTION, Task.MORE_DETAILED_CAPTION)

_STEP_S: Final = 0.05
_SLOW_PROMPTS: Final = frozenset(CATALOGUE[task].prompt for task in SLOW_TASKS)


class SlowEngine(NullEngine):
    """Answers captions at a pace, each kind of caption for itself."""

    def __init__(self, settings: EngineSettings) -> None:
        """Begin with nothing to answer."""
        super().__init__(settings)
        self._slow = WaitingSequences(SYSTEM_CLOCK)
        self._answered_s = dict.fromkeys(_SLOW_PROMPTS, float("-inf"))

    def submit(self, request: SequenceRequest) -> None:
        """Queue a sequence."""
        if request.prompt in _SLOW_PROMPTS:
            self._slow.add(request)
        else:
            super().submit(request)

    def cancel(self, sequence_id: str) -> None:
        """End a waiting sequence as CANCELLED at the next step. Any thread."""
        super().cancel(sequence_id)
        self._slow.cancel(sequence_id)

    def step(self) -> Sequence[Event]:
        """Answer what is due, and wait for a moment where nothing is."""
        due, cut = self._slow.take(self._is_due)
        for one in due:
            super().submit(one.request)
        events = [*cut, *super().step()]
        if not events:
            time.sleep(_STEP_S)
        return events

    def close(self) -> None:
        """Forget all sequences. Idempotent."""
        super().close()
        self._slow.clear()

    def _is_due(self, request: SequenceRequest) -> bool:
        now_s = time.monotonic()
        if now_s - self._answered_s[request.prompt] < ANSWER_S:
            return False
        self._answered_s[request.prompt] = now_s
        return True


if __name__ == "__main__":
    worker_verbs(SlowEngine)()
