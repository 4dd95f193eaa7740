"""The recipe of arno-tiny: what the training stack is given to train it, and for how long.

A run can be killed at any time and resumed with the same command. The learning rate stays level
until the last part of the steps, so a run may be made longer as long as that part has not begun.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from arno.errors import ConfigurationError
from arno.training.origin import source_commit
from arno.training.trainer.average import AverageWeights
from arno.training.trainer.checkpoint import Checkpoint, Stateful
from arno.training.trainer.log import Log, LoggedStep, ProgressBar
from arno.training.trainer.loop import Parts, TrainingRun, stop_on_signals
from arno.training.trainer.process_group import ProcessGroup, run_processes
from arno.training.world import WORLDS
from rich.console import Console

from models.arno_tiny.architecture import build_model, build_processor, load_weights, save
from models.arno_tiny.auxiliary_heads import start_from_waves
from models.arno_tiny.objective import SceneObjective, TaughtModel, has_bfloat16
from models.arno_tiny.optimiser import SplitOptimiser
from models.arno_tiny.scene_batches import SamplingConfig, SceneBatches
from models.arno_tiny.scorecard import MeasuringPlan, Scorecard
from models.arno_tiny.tokenizer import build_tokenizer

_SHOWN: Final = ("grid", "letters", "token", "answer")
"""The losses on the console; the log has all."""
_COMMIT_DIGITS: Final = 10
_SHARP_AT: Final = 0.6
"""Part of the steps after which the location targets of a run from nothing are sharp."""
_SAVING_S: Final = 10.0
"""Time that a run with a limit keeps for its last checkpoint and the model."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of a run.

    Attributes:
        steps: Number of steps in all; with `minutes_max`, more than can be done in them.
        batch: Scenes a step, over all processes.
        tasks_a_scene: Questions about each scene.
        learning_rate: Learning rate after the warm-up.
        weight_decay: Weight decay of all weights.
        gradient_norm_max: Longer gradients are scaled down to this norm.
        seed: Seed of the starting weights.
        world: The world that is drawn, by its name in `WORLDS`.
        device: "cpu", or "cuda" for a GPU, which one process uses.
        start_from: A folder of weights to start from in place of random ones. Location targets are
            sharp from the start then.
        first_scene: Number of the first scene: with `start_from`, the number of scenes that those
            weights have been trained on.
        warm_up_steps: Number of steps in which the learning rate rises, at the start and again when
            the language model joins.
        dense_steps: Number of first steps, which train DaViT alone.
        cool_down: Last part of the steps, in which the learning rate falls to zero.
        checkpoint_steps: Steps between two checkpoints.
        evaluate_steps: Steps between two measurements, each of which decides how often each task is
            asked from then on.
        evaluate_scenes: Scenes to measure on.
        answer_tokens_max: Limit on each answer in measuring.
        log_steps: Number of steps whose means make one line of the log.
        repeat_every: Number of scenes to learn by heart; None never repeats a scene.
        minutes_max: Time in which this start ends, from its beginning to the saved model, whatever
            the steps; the learning rate falls by it, and the frequency of tasks is fixed. None sets
            no limit.
        bad_samples_max: Scenes are never broken.
        loader_processes: Processes that render ahead, for each process of the run.
    """

    steps: int = 4_000
    batch: int = 32
    tasks_a_scene: int = 4
    learning_rate: float = 1.0e-3
    weight_decay: float = 0.02
    gradient_norm_max: float = 1.0
    seed: int = 0
    world: str = "open"
    device: str = "cpu"
    start_from: Path | None = None
    first_scene: int = 0
    warm_up_steps: int = 100
    dense_steps: int = 400
    cool_down: float = 0.25
    checkpoint_steps: int = 100
    evaluate_steps: int = 600
    evaluate_scenes: int = 40
    answer_tokens_max: int = 110
    log_steps: int = 50
    repeat_every: int | None = None
    minutes_max: float | None = None
    bad_samples_max: int = 0
    loader_processes: int = 1

    @property
    def bfloat16(self) -> bool:
        """Whether matrix products run in bfloat16."""
        return has_bfloat16(self.device)


class Clock:
    """How much of a run's time is over; all processes go by the leading one's."""

    def __init__(self, recipe: Recipe, group: ProcessGroup, started_s: float) -> None:
        """Start at a moment of `time.monotonic`."""
        minutes = recipe.minutes_max
        self._limit_s = None if minutes is None else max(1.0, minutes * 60 - _SAVING_S)
        self._group, self._started_s = group, started_s

    @property
    def part(self) -> float:
        """The part of the time that is over in this process: 0 without a limit."""
        if self._limit_s is None:
            return 0.0
        return (time.monotonic() - self._started_s) / self._limit_s

    def agreed_part(self) -> float:
        """Return the part by the leading process's clock; all processes must ask at once."""
        return 0.0 if self._limit_s is None else self._group.all_gather(self.part)[0]


@dataclass(frozen=True, slots=True)
class LevelSchedule:
    """A learning rate that warms up twice, stays level, and falls to zero at the end.

    The end is that of the steps or that of the time, which ever comes first.
    """

    recipe: Recipe
    clock: Clock

    @property
    def step_count(self) -> int:
        """Number of steps in all."""
        return self.recipe.steps

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        since_join = step - self.recipe.dense_steps
        since_start = since_join if since_join >= 0 else step
        warm = min(1.0, (since_start + 1) / self.recipe.warm_up_steps)
        left = max(0.0, 1 - max(step / self.recipe.steps, self.clock.agreed_part()))
        return self.recipe.learning_rate * warm * min(1.0, left / self.recipe.cool_down)


class TinyRun:
    """One run of the recipe in a folder; resumes where the folder has a checkpoint."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        console: Console,
        group: ProcessGroup,
        started_s: float | None = None,
    ) -> None:
        """Build the model and the run, and restore the folder's checkpoint.

        Args:
            folder: The folder.
            recipe: The settings.
            console: Where progress is shown.
            group: This process among all of the run.
            started_s: When this start began, by `time.monotonic`; now where it is None.

        Raises:
            ConfigurationError: The checkpoint is of a run with other settings.
        """
        torch.manual_seed(recipe.seed)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._recipe, self._console, self._group = folder, recipe, console, group
        device = torch.device(recipe.device)
        self._clock = Clock(recipe, group, time.monotonic() if started_s is None else started_s)
        tokenizer = build_tokenizer()
        self.model = build_model(tokenizer)
        network = TaughtModel(self.model, tokenizer)
        if recipe.start_from is None:
            start_from_waves(self.model, network.first_location_id)
        else:
            load_weights(self.model, recipe.start_from)
        network.to(device)
        self._average = AverageWeights(self.model)
        optimiser = SplitOptimiser(network, self.model.model, weight_decay=recipe.weight_decay)
        self._scorecard = Scorecard(
            self.model,
            build_processor(tokenizer),
            self._average,
            group,
            _measuring(recipe),
        )
        parts = Parts(
            objective=SceneObjective(
                network,
                device,
                dense_steps=recipe.dense_steps,
                sharpening_steps=0 if recipe.start_from else round(_SHARP_AT * recipe.steps),
                bfloat16=recipe.bfloat16,
            ),
            optimiser=optimiser,
            schedule=LevelSchedule(recipe, self._clock),
            dataset=self._batches,
            evaluator=self._scorecard,
            average=self._average,
        )
        stateful: dict[str, Stateful] = {
            "weights": network,
            "optimiser": optimiser,
            "average": self._average,
            "scores": self._scorecard,
        }
        checkpoint = Checkpoint(folder, _identity(recipe), stateful, _facts(recipe))
        self._run = TrainingRun(recipe, parts, checkpoint, group)

    def train(self) -> bool:
        """Train until the steps are done and save the model; return False if stopped before.

        A run that ends by its limit of minutes has come to its end.
        """
        report, close = self._monitor()
        try:
            with stop_on_signals() as request:
                finished = self._run.run(
                    report,
                    lambda: request.made or self._clock.part >= 1,
                )
                stopped = request.made
        finally:
            close()
        if not finished and stopped:
            self._console.print(f"stopped after step {self._run.progress.step}")
            return False
        if self._group.leads:
            with self._average.in_place():
                save(self.model, self._folder / "model")
        return True

    def _batches(self) -> SceneBatches:
        sampling = SamplingConfig(
            scenes=self._recipe.batch // self._group.size,
            tasks_a_scene=self._recipe.tasks_a_scene,
            weights=self._scorecard.task_weights(),
            options=WORLDS[self._recipe.world],
            repeat_every=self._recipe.repeat_every,
        )
        return SceneBatches(sampling, self._group, first_scene=self._recipe.first_scene)

    def _monitor(self) -> tuple[Callable[[LoggedStep], None], Callable[[], None]]:
        """Return what is called after each step and at the end: the leading process reports."""
        if not self._group.leads:
            return (lambda _step: None), (lambda: None)
        done = self._run.progress.step
        log = Log(self._folder, done, every=self._recipe.log_steps)
        bar = ProgressBar(self._console, self._recipe.steps, done, shown=_SHOWN)

        def report(step: LoggedStep) -> None:
            written = log.append(step)
            if written is not None:
                bar.show(written)

        return report, bar.close


def launch(folder: Path, recipe: Recipe, processes: int) -> None:
    """Train in ``folder`` with a number of processes of one thread each.

    Raises:
        ConfigurationError: The device is not there, or more than one process is to use it.
    """
    if recipe.device == "cuda":
        if not torch.cuda.is_available():
            raise ConfigurationError("device: torch finds no CUDA device on this machine")
        if processes != 1:
            raise ConfigurationError(f"processes: one process uses a GPU, not {processes}")
    run_processes(processes, _train, folder, recipe, time.monotonic())


def _train(group: ProcessGroup, folder: Path, recipe: Recipe, started_s: float) -> None:
    TinyRun(folder, recipe, Console(quiet=not group.leads), group, started_s).train()


def _measuring(recipe: Recipe) -> MeasuringPlan:
    return MeasuringPlan(
        recipe.evaluate_steps,
        recipe.evaluate_scenes,
        recipe.answer_tokens_max,
        recipe.world,
        # New frequencies need new loaders, which costs seconds.
        steers=recipe.minutes_max is None,
    )


def _identity(recipe: Recipe) -> dict[str, object]:
    # The number of steps is not part of it: a run may be made longer.
    deciding = (
        *("seed", "batch", "first_scene", "tasks_a_scene", "learning_rate", "dense_steps"),
        *("world", "device"),
    )
    return {name: getattr(recipe, name) for name in deciding}


def _facts(recipe: Recipe) -> dict[str, object]:
    """Return what the model card tells about the run."""
    return {
        "batch": recipe.batch,
        "seed": recipe.seed,
        "first_scene": recipe.first_scene,
        "precision": _precision(recipe),
        "commit": _commit(),
        "machine": _machine(recipe),
    }


def _commit() -> str:
    commit = source_commit() or "unknown"
    changed = "+" if commit.endswith("+") else ""
    return commit.removesuffix("+")[:_COMMIT_DIGITS] + changed


def _precision(recipe: Recipe) -> str:
    if recipe.bfloat16:
        return "bfloat16"
    return "TensorFloat-32" if recipe.device == "cuda" else "float32"


def _machine(recipe: Recipe) -> str:
    cores = f"{os.cpu_count()} {os.uname().machine} cores"
    if recipe.device == "cpu":
        return cores
    return f"one {torch.cuda.get_device_name()} and {cores}"
