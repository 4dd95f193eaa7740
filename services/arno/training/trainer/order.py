"""In which order samples are seen, and how fast is learned: functions of the step alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch

from arno.training.trainer.settings import ScheduleSettings

_FLOOR = 0.01
"""Of the peak; what the cosine ends at."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The plan of a run.

    Attributes:
        step_count: Steps of the optimiser.
        warm_up_steps: Of these, steps in which the learning rate rises.
        peak: The highest learning rate.
    """

    step_count: int
    warm_up_steps: int
    peak: float

    @classmethod
    def of(cls, settings: ScheduleSettings, sample_count: int, peak: float) -> Schedule:
        """Plan a run over so many samples."""
        steps = settings.steps or math.ceil(settings.epochs * sample_count / settings.batch)
        return cls(steps, math.ceil(steps * settings.warm_up_part), peak)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0: linear up, then half a cosine."""
        if step < self.warm_up_steps:
            return self.peak * (step + 1) / self.warm_up_steps
        progress = (step - self.warm_up_steps) / max(1, self.step_count - self.warm_up_steps)
        return self.peak * (_FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * progress)) / 2)


@dataclass(frozen=True, slots=True)
class SampleOrder:
    """Every epoch is a permutation of all samples, drawn from the seed and the epoch's number."""

    sample_count: int
    seed: int

    def at(self, position: int) -> int:
        """Return the sample at a position of the endless row of epochs."""
        epoch, place = divmod(position, self.sample_count)
        return int(_permutation(self.sample_count, self.seed, epoch)[place])


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)
