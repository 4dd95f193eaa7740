"""The training loop."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from arno.errors import ConfigurationError
from arno.training.data import SampleSource
from arno.training.trainer.batches import Portion, Portions, read_ahead
from arno.training.trainer.curve import LoggedStep
from arno.training.trainer.learner import Learner
from arno.training.trainer.objective import answer_loss
from arno.training.trainer.order import Schedule
from arno.training.trainer.ranks import Ranks
from arno.training.trainer.saved_state import Progress, identity_of, load_state, save_state
from arno.training.trainer.settings import TrainSettings
from arno.training.trainer.validation import Validation


@dataclass(frozen=True, slots=True)
class _Tidings:
    """What each process tells the others before a step."""

    token_count: int
    faults: dict[int, str]
    stop: bool


class Run:
    """A run from its last checkpoint, or its beginning, to its end."""

    def __init__(
        self,
        settings: TrainSettings,
        learner: Learner,
        source: SampleSource,
        ranks: Ranks,
        validation: Validation | None = None,
    ) -> None:
        """Plan the run, and go on from the checkpoint in its folder.

        Raises:
            ConfigurationError: The folder's checkpoint is of another run, or there are fewer
                samples a step than processes.
        """
        if settings.batch < ranks.count:
            raise ConfigurationError(
                f"batch: {settings.batch} samples a step are too few for {ranks.count} processes"
            )
        self._settings, self._learner, self._ranks = settings, learner, ranks
        self._validation = validation
        self.schedule = Schedule.of(settings, len(source), settings.peak_learning_rate)
        self._optimiser = learner.optimiser(settings)
        self._identity = identity_of(
            settings, self.schedule, source.digest, learner.checkpoint.card.fingerprint
        )
        self.progress = load_state(settings.out, self._identity, learner, self._optimiser)
        self._portions = Portions(source, learner.collator(), ranks, settings)
        self._bfloat16 = settings.precision == "bfloat16" or (
            settings.precision == "auto" and learner.device.type == "cuda"
        )

    def go_on(
        self, report: Callable[[LoggedStep, Progress], None], asked_to_stop: Callable[[], bool]
    ) -> bool:
        """Do the steps that are left; return whether the run has come to its end.

        Args:
            report: Called after each step, in every process.
            asked_to_stop: Whether to save the state and return, asked before each step.

        Raises:
            ConfigurationError: Too many samples are broken, or the loss is no number any more.
        """
        network = self._trained()
        steps = range(self.progress.step, self.schedule.step_count)
        started_s = time.monotonic()
        saved = True
        for step, portion in zip(
            steps,
            read_ahead(self._portions, steps, self._settings.loader_processes),
            strict=True,
        ):
            token_count = self._agree(portion, stop=asked_to_stop())
            if token_count is None:
                if not saved:
                    self._save()
                return False
            logged = self._learn(network, step, portion, token_count)
            self.progress.step = step + 1
            now_s = time.monotonic()
            self.progress.trained_s += now_s - started_s
            logged = replace(logged, sample_rate=self._settings.batch / (now_s - started_s))
            due = (step + 1) % self._settings.checkpoint_steps == 0
            saved = due or step + 1 == self.schedule.step_count
            if saved:
                if self._validation is not None:
                    logged = replace(logged, validation_loss=self._validation.loss(self._learner))
                self._save()
            report(logged, self.progress)
            started_s = time.monotonic()
        return True

    def _trained(self) -> Any:
        """Return the network in training mode, its gradients averaged over all processes."""
        network = self._learner.network
        network.train()
        if self._settings.freeze_vision:
            self._learner.checkpoint.network.model.vision_tower.train(mode=False)
        if self._ranks.count == 1:
            return network
        devices = [self._learner.device.index] if self._learner.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)

    def _agree(self, portion: Portion, *, stop: bool) -> int | None:
        """Return the answer tokens of all processes; None where one was asked to stop."""
        told = self._ranks.gather(_Tidings(portion.token_count, portion.faults, stop))
        for tidings in told:
            self.progress.faults.update(tidings.faults)
        faults = self.progress.faults
        unusable = any(not tidings.token_count for tidings in told)
        if len(faults) > self._settings.bad_samples_max or unusable:
            worst = "".join(f"\n  {fault}" for fault in sorted(faults.values())[:20])
            limit = self._settings.bad_samples_max
            raise ConfigurationError(
                f"data: {len(faults)} samples are broken, and bad_samples_max is {limit}:{worst}"
            )
        if any(tidings.stop for tidings in told):
            return None
        return sum(tidings.token_count for tidings in told)

    def _learn(self, network: Any, step: int, portion: Portion, token_count: int) -> LoggedStep:
        # The random numbers of a step are its own: nothing of them needs to be kept.
        torch.manual_seed((self._settings.seed * 1_000_003 + step) * 4096 + self._ranks.rank)
        learning_rate = self.schedule.learning_rate(step)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate
        self._optimiser.zero_grad(set_to_none=True)
        summed = torch.zeros((), device=self._learner.device)
        for number, batch in enumerate(portion.batches, start=1):
            alone = self._ranks.count > 1 and number < len(portion.batches)
            with network.no_sync() if alone else contextlib.nullcontext():
                with torch.autocast(
                    self._learner.device.type, dtype=torch.bfloat16, enabled=self._bfloat16
                ):
                    loss = answer_loss(network, batch.to(self._learner.device))
                # Averaged over the processes, this is the mean over all tokens of the step.
                torch.autograd.backward(loss * (self._ranks.count / token_count))
            summed += loss.detach()
        learning = [one for _, one in self._learner.learning()]
        norm = torch.nn.utils.clip_grad_norm_(learning, self._settings.gradient_norm_max)
        mean = float(self._ranks.total(summed)) / token_count
        if not math.isfinite(mean) or not math.isfinite(float(norm)):
            raise ConfigurationError(
                f"step {step + 1}: the loss is {mean:g} and its gradient {float(norm):g}; the last "
                "checkpoint is kept, lower the learning rate"
            )
        self._optimiser.step()
        return LoggedStep(step + 1, mean, learning_rate, float(norm), sample_rate=0.0)

    def _save(self) -> None:
        if self._ranks.leads:
            save_state(
                self._settings.out, self._identity, self._learner, self._optimiser, self.progress
            )
        self._ranks.wait()
