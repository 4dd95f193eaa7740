"""An engine that a test can stop in the middle of a job, by a file."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from arno.engine import (
    Engine,
    EngineStatistics,
    Event,
    ModelCard,
    PreparedImage,
    SequenceFinished,
    SequenceRequest,
)
from arno.vocabulary import FinishReason, TokenTable

KILLING_PROMPT = "kill the process"
BROKEN_TOKEN_IDS = (0, -1)


class GatedEngine:
    """Holds sequences back while the gate file exists; a certain prompt kills the process."""

    def __init__(self, engine: Engine, gate: Path) -> None:
        self._engine = engine
        self._gate = gate
        self._held: dict[str, SequenceRequest] = {}
        self._cancelled: set[str] = set()

    @property
    def held_count(self) -> int:
        """Sequences that the gate holds back."""
        return len(self._held)

    @property
    def card(self) -> ModelCard:
        return self._engine.card

    @property
    def token_table(self) -> TokenTable:
        return self._engine.token_table

    def warm_up(self) -> None:
        self._engine.warm_up()

    def prepare(self, content: bytes) -> PreparedImage:
        return self._engine.prepare(content)

    def submit(self, request: SequenceRequest) -> None:
        if request.prompt == KILLING_PROMPT:
            os.kill(os.getpid(), signal.SIGKILL)
        self._held[request.sequence_id] = request

    def step(self) -> Sequence[Event]:
        events: list[Event] = []
        for sequence_id, request in list(self._held.items()):
            reason = self._reason_to_end(request)
            if reason is not None:
                del self._held[sequence_id]
                events.append(SequenceFinished(sequence_id, (), (), reason, 0.0, 0.0))
            elif not self._gate.exists():
                del self._held[sequence_id]
                self._engine.submit(request)
        return [*events, *self._engine.step()]

    def cancel(self, sequence_id: str) -> None:
        self._cancelled.add(sequence_id)

    def statistics(self) -> EngineStatistics:
        return self._engine.statistics()

    def close(self) -> None:
        self._engine.close()

    def _reason_to_end(self, request: SequenceRequest) -> FinishReason | None:
        if request.sequence_id in self._cancelled:
            return FinishReason.CANCELLED
        if request.deadline_s is not None and time.monotonic() >= request.deadline_s:
            return FinishReason.DEADLINE
        return None
