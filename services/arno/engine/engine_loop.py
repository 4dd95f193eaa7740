"""The thread that owns an engine: it submits, steps and cancels, and passes events on.

It handles sequences and no jobs, so that only the model runs between two steps.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from arno.engine.interface import Engine, Event, SequenceFinished, SequenceRequest
from arno.errors import ArnoError, EngineError
from arno.ops.clock import SYSTEM_CLOCK, Clock
from arno.vocabulary import FinishReason

logger = logging.getLogger(__name__)

_IDLE_STEP_S: Final = 0.0005
"""A step without events that is shorter than this did nothing: every forward pass is longer."""

_IDLE_PAUSE_S: Final = 0.002


class EngineLoop:
    """Runs an engine on one thread; ``submit``, ``cancel`` and ``stop`` may be called from any."""

    def __init__(
        self,
        engine: Engine,
        *,
        on_events: Callable[[Sequence[Event]], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Take the engine; `on_events` gets the events of each step, and must return at once."""
        self._engine = engine
        self._clock = clock
        self._on_events = on_events
        self._changed = threading.Condition()
        self._inbox: deque[SequenceRequest | str] = deque()
        self._stopped = False
        self._live_count = 0
        self._busy_s = 0.0
        self._step_began_s: float | None = None

    @property
    def busy_s(self) -> float:
        """Seconds spent in steps since the start."""
        return self._busy_s

    def step_age_s(self) -> float:
        """Return how long the current step has been running; 0.0 between steps."""
        began_s = self._step_began_s
        return 0.0 if began_s is None else self._clock.monotonic_s() - began_s

    def submit(self, requests: Iterable[SequenceRequest]) -> None:
        """Run sequences."""
        self._put(requests)

    def cancel(self, sequence_ids: Iterable[str]) -> None:
        """End sequences at the next step; queued after their ``submit``, so none is missed."""
        self._put(sequence_ids)

    def stop(self) -> None:
        """End the thread after its current step."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def run(self) -> None:
        """Step until stopped: the body of the engine's thread.

        Raises:
            DeviceLostError: The GPU does not work any more. Its sequences do not end here: their
                jobs run again in another process.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._inbox or self._live_count)
                if self._stopped:
                    return
            refused = self._empty_inbox()
            events = self._step()
            self._live_count -= sum(isinstance(event, SequenceFinished) for event in events)
            if refused or events:
                self._on_events([*refused, *events])

    def _put(self, messages: Iterable[SequenceRequest | str]) -> None:
        with self._changed:
            self._inbox.extend(messages)
            self._changed.notify()

    def _empty_inbox(self) -> list[SequenceFinished]:
        refused: list[SequenceFinished] = []
        while self._inbox:
            message = self._inbox.popleft()
            if isinstance(message, str):
                self._engine.cancel(message)
                continue
            try:
                self._engine.submit(message)
            except ArnoError as error:
                refused.append(_refused(message, error))
            except RuntimeError as fault:  # a device without memory for one more image
                _require_device(fault)
                logger.exception("a sequence could not be submitted")
                why = f"the engine could not take the task: {type(fault).__name__}"
                refused.append(_refused(message, EngineError(why)))
            else:
                self._live_count += 1
        return refused

    def _step(self) -> Sequence[Event]:
        began_s = self._step_began_s = self._clock.monotonic_s()
        events = self._engine.step()
        self._step_began_s = None
        took_s = self._clock.monotonic_s() - began_s
        if events or took_s >= _IDLE_STEP_S:
            self._busy_s += took_s
        else:
            with self._changed:
                if not self._inbox and not self._stopped:
                    self._changed.wait(_IDLE_PAUSE_S)
        return events


def _require_device(fault: Exception) -> None:
    # Not at the top: the engine for load tests runs without torch.
    from arno.engine.device import require_device

    require_device(fault)


def _refused(request: SequenceRequest, error: ArnoError) -> SequenceFinished:
    return SequenceFinished(
        sequence_id=request.sequence_id,
        token_ids=(),
        logprobs=(),
        finish_reason=FinishReason.ERROR,
        encode_s=0.0,
        decode_s=0.0,
        error=error,
    )
