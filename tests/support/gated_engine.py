"""An engine that a test can stop in the middle of a job, by a file."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from arno.engine import (
    Engine,
    EngineStatistics,
    Event,
    ModelCard,
    PreparedImage,
    SequenceRequest,
)
from arno.engine.sequences.waiting_sequences import WaitingSequences
from arno.ops.clock import SYSTEM_CLOCK
from arno.vocabulary import TokenTable

KILLING_PROMPT = "kill the process"
BROKEN_TOKEN_IDS = (0, -1)


class GatedEngine:
    """Holds sequences back while the gate file exists; a certain prompt kills the process."""

    def __init__(self, engine: Engine, gate: Path) -> None:
        self._engine = engine
        self._gate = gate
        self._held = WaitingSequences(SYSTEM_CLOCK)

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
        self._held.add(request)

    def step(self) -> Sequence[Event]:
        is_open = not self._gate.exists()
        passed, cut = self._held.take(lambda _: is_open)
        for one in passed:
            self._engine.submit(one.request)
        return [*cut, *self._engine.step()]

    def cancel(self, sequence_id: str) -> None:
        self._held.cancel(sequence_id)

    def statistics(self) -> EngineStatistics:
        return self._engine.statistics()

    def close(self) -> None:
        self._engine.close()
