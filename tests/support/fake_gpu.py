"""A stand-in for what is called of a GPU, whose clock a test drives."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from arno.engine.stopwatch import Stopwatch


@dataclass(slots=True)
class FakeGpu:
    """A device that does its work when it is told to.

    Attributes:
        busy_s: How long each piece of work between two events takes it.
        reached: Events up to which it has come.
        recorded: Events that were recorded.
    """

    busy_s: float = 2.0
    reached: int = 0
    recorded: list[FakeEvent] = field(default_factory=list)

    def catch_up(self) -> None:
        """Do all that was launched, as it has when a wait for it returns."""
        self.reached = len(self.recorded)

    def event(self) -> FakeEvent:
        """Make an event, as `torch.cuda.Event` does."""
        return FakeEvent(self)

    def stopwatch(self, _: torch.device | None = None) -> Stopwatch:
        """Start a stopwatch on it."""
        return Stopwatch(torch.device("cuda"), self.event)


@dataclass(slots=True, eq=False)
class FakeEvent:
    """An event of a fake GPU."""

    gpu: FakeGpu
    place: int = 0

    def record(self) -> None:
        """Put the event behind all work so far."""
        self.gpu.recorded.append(self)
        self.place = len(self.gpu.recorded)

    def query(self) -> bool:
        """Return whether the device has come so far."""
        return self.gpu.reached >= self.place

    def synchronize(self) -> None:
        """Wait until it has."""
        self.gpu.reached = max(self.gpu.reached, self.place)

    def elapsed_time(self, end: FakeEvent) -> float:
        """Return the milliseconds from this event to a later one."""
        if not end.query():
            raise RuntimeError("the events were not reached: device not ready")
        return 1000 * self.gpu.busy_s * (end.place - self.place)


def stopped_at(seconds: float) -> Stopwatch:
    """Return a stopwatch that has measured so many seconds."""
    gpu = FakeGpu(busy_s=seconds)
    watch = gpu.stopwatch()
    watch.stop()
    gpu.catch_up()
    return watch
