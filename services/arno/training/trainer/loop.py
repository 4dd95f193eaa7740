"""The training loop: steps, checkpoints, evaluations, and the agreement of all processes.

What a step does depends on settings, weights and the step's number alone, never on the clock: a run
that was killed and resumed ends with the weights of one that was not.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch.utils.data import Dataset

from arno.errors import ConfigurationError
from arno.training.trainer.average import AverageWeights
from arno.training.trainer.batches import RankBatch, read_ahead
from arno.training.trainer.checkpoint import Checkpoint
from arno.training.trainer.log import LoggedStep
from arno.training.trainer.objective import Evaluator, Objective, Step
from arno.training.trainer.process_group import ProcessGroup, unsynchronised
from arno.training.trainer.schedule import LearningRateSchedule

BatchT = TypeVar("BatchT")


class Optimiser(Protocol):
    """The part of `torch.optim.Optimizer` that the loop uses.

    A group of parameters may have a `rate_scale`, a factor on the learning rate.
    """

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of parameters with their options."""

    def zero_grad(self, *, set_to_none: bool) -> None:
        """Drop all gradients."""

    def step(self) -> Any:
        """Move the parameters along their gradients."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return the state."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """Take the state over."""


class LoopSettings(Protocol):
    """The settings of the loop."""

    @property
    def batch(self) -> int:
        """Samples a step, over all processes."""

    @property
    def seed(self) -> int:
        """Seed of all random numbers."""

    @property
    def gradient_norm_max(self) -> float:
        """Longer gradients are scaled down to this norm."""

    @property
    def bad_samples_max(self) -> int:
        """Number of broken samples that are skipped before the run fails."""

    @property
    def checkpoint_steps(self) -> int:
        """Steps between two checkpoints."""

    @property
    def loader_processes(self) -> int:
        """Processes that read ahead, for each process of the run; 0 for none."""


@dataclass(frozen=True, slots=True)
class Parts(Generic[BatchT]):
    """The parts of a run that differ from recipe to recipe.

    Attributes:
        objective: The network and its loss.
        optimiser: What moves the weights.
        schedule: The number of steps and their learning rates.
        dataset: Returns this process's batches by the number of the step; called at the start, and
            after each evaluation that changes the data.
        evaluator: Measures the network; None measures nothing.
        average: Average weights that follow each step; None keeps none.
    """

    objective: Objective[BatchT]
    optimiser: Optimiser
    schedule: LearningRateSchedule
    dataset: Callable[[], Dataset[RankBatch[BatchT]]]
    evaluator: Evaluator | None = None
    average: AverageWeights | None = None


@dataclass(frozen=True, slots=True)
class StepReport:
    """What each process reports to the others before a step."""

    token_count: int
    errors: dict[int, str]
    stop: bool


class TrainingRun(Generic[BatchT]):
    """A run from its last checkpoint, or its beginning, to its end. Main thread only."""

    def __init__(
        self,
        settings: LoopSettings,
        parts: Parts[BatchT],
        checkpoint: Checkpoint,
        group: ProcessGroup,
    ) -> None:
        """Restore the state of the run where its folder has a checkpoint.

        Raises:
            ConfigurationError: The checkpoint is of another run, or there are fewer samples a step
                than processes.
        """
        if settings.batch < group.size:
            raise ConfigurationError(
                f"batch: {settings.batch} samples a step are too few for {group.size} processes"
            )
        self._settings, self._parts, self._group = settings, parts, group
        self._checkpoint = checkpoint
        self._step_started_s = 0.0
        self.step_count = parts.schedule.step_count
        self.progress = checkpoint.load(parts.objective.device)
        self._saved_step = self.progress.step

    def run(
        self, report: Callable[[LoggedStep], object], asked_to_stop: Callable[[], bool]
    ) -> bool:
        """Do the remaining steps; return whether the run has come to its end.

        Args:
            report: Called after each step, in every process.
            asked_to_stop: Whether to save the state and return; called before each step.

        Raises:
            ConfigurationError: Too many samples are broken, or the loss is not finite.
        """
        objective = self._parts.objective
        objective.start()
        network = self._group.data_parallel(
            objective.network, objective.device, partly_used=objective.partly_used
        )
        while self.progress.step < self.step_count:
            steps = self._steps_with_one_dataset()
            self._step_started_s = time.monotonic()
            batches = read_ahead(self._parts.dataset(), steps, self._settings.loader_processes)
            # Loaders that outlive the loop may meet the end of this process, and crash it.
            with contextlib.closing(batches):
                for number, rank_batch in zip(steps, batches, strict=True):
                    token_count = self._agree(rank_batch, stop=asked_to_stop())
                    if token_count is None:
                        self._save()
                        return False
                    step = Step(number, token_count, self._group.size)
                    report(self._finish(self._learn(network, step, rank_batch)))
                    self._step_started_s = time.monotonic()
        return True

    def _steps_with_one_dataset(self) -> range:
        """Return the next steps, up to the evaluation that decides how the data goes on."""
        evaluator, first = self._parts.evaluator, self.progress.step
        if evaluator is None or not evaluator.changes_data:
            return range(first, self.step_count)
        every = evaluator.every_steps
        return range(first, min(self.step_count, (first // every + 1) * every))

    def _agree(self, rank_batch: RankBatch[BatchT], *, stop: bool) -> int | None:
        """Return the answer tokens of all processes; None where one was asked to stop."""
        reports = self._group.all_gather(
            StepReport(rank_batch.token_count, rank_batch.errors, stop)
        )
        for report in reports:
            self.progress.errors.update(report.errors)
        errors, limit = self.progress.errors, self._settings.bad_samples_max
        if len(errors) > limit or not all(report.token_count for report in reports):
            listed = "".join(f"\n  {error}" for error in sorted(errors.values())[:20])
            raise ConfigurationError(
                f"data: {len(errors)} samples are broken, and bad_samples_max is {limit}:{listed}"
            )
        if any(report.stop for report in reports):
            return None
        return sum(report.token_count for report in reports)

    def _learn(self, network: Any, step: Step, rank_batch: RankBatch[BatchT]) -> LoggedStep:
        """Do one step of the optimiser."""
        objective, optimiser = self._parts.objective, self._parts.optimiser
        # Each step has its own random numbers, so a checkpoint need not keep the generator's state.
        torch.manual_seed((self._settings.seed * 1_000_003 + step.number) * 4096 + self._group.rank)
        learning_rate = self._parts.schedule.learning_rate(step.number)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * group.get("rate_scale", 1.0)
        optimiser.zero_grad(set_to_none=True)
        summed = torch.zeros((), device=objective.device)
        parts: dict[str, float] = {}
        for number, batch in enumerate(rank_batch.batches, start=1):
            wait = self._group.size > 1 and number < len(rank_batch.batches)
            with unsynchronised(network) if wait else contextlib.nullcontext():
                loss = objective.loss(network, batch, step)
                torch.autograd.backward(loss.value)
            summed += loss.value.detach()
            for name, value in loss.parts.items():
                parts[name] = parts.get(name, 0.0) + value
        learning = [one for one in objective.network.parameters() if one.requires_grad]
        norm = float(torch.nn.utils.clip_grad_norm_(learning, self._settings.gradient_norm_max))
        mean = float(self._group.all_sum(summed)) / self._group.size
        if not math.isfinite(mean) or not math.isfinite(norm):
            raise ConfigurationError(
                f"step {step.number + 1}: the loss is {mean:g} and its gradient {norm:g}; the last "
                "checkpoint is kept, lower the learning rate"
            )
        optimiser.step()
        if self._parts.average is not None:
            self._parts.average.follow(step.number + 1)
        return LoggedStep(step.number + 1, mean, learning_rate, norm, 0.0, parts)

    def _finish(self, logged: LoggedStep) -> LoggedStep:
        """Count a step, evaluate and save where that is due; return it with all its figures."""
        done = logged.step
        spent_s = time.monotonic() - self._step_started_s
        self.progress.step = done
        self.progress.trained_s += spent_s
        logged = replace(logged, sample_rate=self._settings.batch / spent_s)
        evaluator, last = self._parts.evaluator, done == self.step_count
        if evaluator is not None and (last or done % evaluator.every_steps == 0):
            logged = replace(logged, measured={**logged.measured, **evaluator.measure()})
        if last or done % self._settings.checkpoint_steps == 0:
            self._save()
        return logged

    def _save(self) -> None:
        if self._saved_step == self.progress.step:
            return
        if self._group.leads:
            self._checkpoint.save(self.progress)
        self._saved_step = self.progress.step
        self._group.barrier()


@dataclass(slots=True)
class StopRequest:
    """Whether a signal has asked the run to stop."""

    made: bool = False


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Note SIGINT and SIGTERM instead of dying of them, so that the step can be finished and saved.

    The second signal of a kind has its usual effect. Main thread only.
    """
    request = StopRequest()
    before: dict[signal.Signals, Any] = {}

    def note(number: int, _frame: object) -> None:
        request.made = True
        signal.signal(number, before[signal.Signals(number)])

    for one in (signal.SIGINT, signal.SIGTERM):
        before[one] = signal.signal(one, note)
    try:
        yield request
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
