"""The order of the samples and the learning rate: functions of the step's number alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch

from arno.training.trainer.settings import ScheduleSettings

_FLOOR = 0.01
"""End of the cosine, as a part of the peak."""


class LearningRateSchedule(Protocol):
    """The length of a run and the learning rate of each step."""

    @property
    def step_count(self) -> int:
        """Number of steps in all."""

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""


@dataclass(frozen=True, slots=True)
class CosineSchedule:
    """A linear warm-up, then half a cosine.

    Attributes:
        step_count: Number of steps in all.
        warm_up_steps: Number of first steps in which the learning rate rises.
        peak: The highest learning rate.
    """

    step_count: int
    warm_up_steps: int
    peak: float

    @classmethod
    def of(cls, settings: ScheduleSettings, sample_count: int, peak: float) -> CosineSchedule:
        """Return the schedule of a run over a number of samples."""
        steps = settings.steps or math.ceil(settings.epochs * sample_count / settings.batch)
        return cls(steps, math.ceil(steps * settings.warm_up_part), peak)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warm_up_steps:
            return self.peak * (step + 1) / self.warm_up_steps
        progress = (step - self.warm_up_steps) / max(1, self.step_count - self.warm_up_steps)
        return self.peak * (_FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * progress)) / 2)


@dataclass(frozen=True, slots=True)
class SampleOrder:
    """Epoch after epoch, each a permutation of all samples drawn from the seed and its number."""

    sample_count: int
    seed: int

    def at(self, position: int) -> int:
        """Return the number of the sample at a position, counted over all epochs."""
        epoch, place = divmod(position, self.sample_count)
        return int(_permutation(self.sample_count, self.seed, epoch)[place])


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)
