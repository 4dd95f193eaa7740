"""A worker whose engine takes its time: the null engine's answers, at the pace of a real batch.

`python -m benchmarks.paced_worker worker` is `arno worker` with this engine. Steps have a fixed
length, sequences a fixed number of steps, and batches the slots that the real engine has by
default; its scheduler chooses which sequences start next. One that is cancelled leaves at the next
step, as from the real engine.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import click
from arno.batching import Budget, LanePolicy, Scheduler
from arno.cli.servers import KNOWN_SETTINGS
from arno.engine.interface import Engine, Event, SequenceFinished, SequenceRequest
from arno.engine.null_engine import NullEngine
from arno.engine.settings import EngineSettings
from arno.images.decode import ImageHeader, open_image
from arno.images.pixel_budget import PixelBudget
from arno.ops.flags import settings_options
from arno.worker.main import run_worker
from arno.worker.settings import WorkerSettings

STEP_S: Final = 0.01
STEP_COUNT: Final = 10
SLOT_COUNT: Final[int] = EngineSettings.model_fields["batch_sequences_max"].default


@dataclass(slots=True, eq=False)
class _Waiting:
    """A sequence as the scheduler sees it, and the steps that it still takes."""

    request: SequenceRequest
    arrived_s: float
    steps_left: int = STEP_COUNT
    size: float = 0.0

    @property
    def lane(self) -> str:
        return self.request.lane

    @property
    def tenant(self) -> str:
        return self.request.tenant

    @property
    def cost(self) -> float:
        return float(self.request.expected_token_count)


class PacedEngine(NullEngine):
    """Answers `SLOT_COUNT` sequences at a time, each after `STEP_COUNT` steps."""

    def __init__(self, settings: EngineSettings) -> None:
        """Begin with an empty batch."""
        super().__init__(settings)
        self._scheduler: Scheduler[_Waiting] = Scheduler(
            LanePolicy(), reserve_share=settings.tenant_reserve_share
        )
        self._running: list[_Waiting] = []
        self._waiting_by_id: dict[str, _Waiting] = {}
        self._image_limits = settings.image_limits
        self._pixel_budget = PixelBudget(settings.image_pixels_in_flight_max)

    def _read(self, content: bytes) -> ImageHeader:
        """Decode an image as a real engine does, within the same budget. Any thread."""
        image = open_image(content, self._image_limits)
        with self._pixel_budget.hold(image.header.width_px * image.header.height_px):
            image.decode()
        return image.header

    def submit(self, request: SequenceRequest) -> None:
        """Queue a sequence."""
        waiting = _Waiting(request, time.monotonic())
        self._waiting_by_id[request.sequence_id] = waiting
        self._scheduler.admit(waiting)

    def cancel(self, sequence_id: str) -> None:
        """End a sequence as CANCELLED at the next step. On the thread that steps."""
        waiting = self._waiting_by_id.pop(sequence_id, None)
        if waiting is not None:
            self._scheduler.withdraw(waiting)
            super().submit(waiting.request)
            super().cancel(sequence_id)
        for sequence in self._running:
            if sequence.request.sequence_id == sequence_id:
                sequence.steps_left = 1

    def step(self) -> Sequence[Event]:
        """Start the sequences that are next, and work for the length of a step."""
        free = SLOT_COUNT - len(self._running)
        started = Counter(one.tenant for one in self._running)
        budget = Budget(free, slots=SLOT_COUNT, started=started)
        group = self._scheduler.schedule(budget, time.monotonic())
        for sequence in group:
            del self._waiting_by_id[sequence.request.sequence_id]
        self._running += group
        if not self._running:
            return super().step()
        time.sleep(STEP_S)
        for sequence in self._running:
            sequence.steps_left -= 1
        ended = [sequence for sequence in self._running if not sequence.steps_left]
        for sequence in ended:
            super().submit(sequence.request)
        self._running = [sequence for sequence in self._running if sequence.steps_left]
        arrived_s = {one.request.sequence_id: one.arrived_s for one in ended}
        return [
            replace(event, decode_s=time.monotonic() - arrived_s[event.sequence_id])
            if isinstance(event, SequenceFinished) and event.sequence_id in arrived_s
            else event
            for event in super().step()
        ]


def worker_verbs(make_engine: Callable[[WorkerSettings], Engine]) -> click.Group:
    """Return what stands in for `arno`: its verb `worker`, with another engine."""

    @click.command("worker")
    @settings_options(WorkerSettings, process="worker", known_elsewhere=KNOWN_SETTINGS)
    def worker(settings: WorkerSettings) -> int:
        return run_worker(settings, make_engine=make_engine)

    return click.Group(commands=[worker])


if __name__ == "__main__":
    worker_verbs(PacedEngine)()
