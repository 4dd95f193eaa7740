"""The order of the samples and the learning rate: functions of the step's number alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import torch

from arno.training.trainer.settings import ScheduleSettings

_FLOOR = 0.01
"""End of the cosine, as a part of the peak, where the settings name none."""
_FALLS = (0.67, 0.89)
"""Parts of the steps after which the learning rate falls to a tenth."""


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
        floor: End of the cosine, as a part of the peak.
    """

    step_count: int
    warm_up_steps: int
    peak: float
    floor: float = _FLOOR

    @classmethod
    def of(cls, settings: ScheduleSettings, sample_count: int, peak: float) -> CosineSchedule:
        """Return the schedule of a run over a number of samples."""
        steps = settings.steps or math.ceil(settings.epochs * sample_count / settings.batch)
        end = settings.learning_rate_end
        floor = _FLOOR if end is None else end / peak
        return cls(steps, math.ceil(steps * settings.warm_up_part), peak, floor)

    @property
    def identity(self) -> dict[str, Any]:
        """What of it decides the weights, for the run's checkpoint."""
        # Checkpoints that are older than the setting know the usual floor alone.
        floor = {} if self.floor == _FLOOR else {"floor": self.floor}
        return {**_identity(self), **floor}

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warm_up_steps:
            return self.peak * (step + 1) / self.warm_up_steps
        progress = (step - self.warm_up_steps) / max(1, self.step_count - self.warm_up_steps)
        return self.peak * (self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2)


@dataclass(frozen=True, slots=True)
class StepsSchedule:
    """A linear warm-up, then the peak, a tenth of it after 67 % of the steps, again after 89 %.

    Source: the schedule of the heads in Xiao et al., "Florence-2" (2023).

    Attributes:
        step_count: Number of steps in all.
        warm_up_steps: Number of first steps in which the learning rate rises.
        peak: The highest learning rate.
    """

    step_count: int
    warm_up_steps: int
    peak: float

    @property
    def identity(self) -> dict[str, Any]:
        """What of it decides the weights, for the run's checkpoint."""
        return {**_identity(self), "schedule": "steps"}

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warm_up_steps:
            return self.peak * (step + 1) / self.warm_up_steps
        falls = sum(step >= part * self.step_count for part in _FALLS)
        return float(self.peak * 0.1**falls)


def _identity(schedule: CosineSchedule | StepsSchedule) -> dict[str, Any]:
    return {
        "steps": schedule.step_count,
        "warm_up_steps": schedule.warm_up_steps,
        "learning_rate": schedule.peak,
    }


def schedule_of(
    settings: ScheduleSettings, sample_count: int, peak: float
) -> CosineSchedule | StepsSchedule:
    """Return the schedule that the settings ask for, over a number of samples."""
    cosine = CosineSchedule.of(settings, sample_count, peak)
    if settings.schedule == "cosine":
        return cosine
    return StepsSchedule(cosine.step_count, cosine.warm_up_steps, peak)


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
