"""The recipe of arno-tiny: what the training stack is given to train it, and for how long.

A run can be killed at any time and resumed with the same command. The learning rate stays level
until the last part of the steps, so a run may be made longer as long as that part has not begun.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from arno.training.origin import source_commit
from arno.training.trainer.average import AverageWeights
from arno.training.trainer.checkpoint import Checkpoint, Stateful
from arno.training.trainer.log import Log, LoggedStep, ProgressBar
from arno.training.trainer.loop import Parts, TrainingRun, stop_on_signals
from arno.training.trainer.process_group import ProcessGroup, run_processes
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


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of a run.

    Attributes:
        steps: Number of steps in all.
        batch: Scenes a step, over all processes.
        tasks_a_scene: Questions about each scene.
        learning_rate: Learning rate after the warm-up.
        weight_decay: Weight decay of all weights.
        gradient_norm_max: Longer gradients are scaled down to this norm.
        seed: Seed of the starting weights.
        start_from: A folder of weights to start from in place of random ones.
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
        bfloat16: Whether matrix products run in bfloat16.
        minutes_max: Time after which the run stops, whatever the steps; None sets no limit.
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
    bfloat16: bool = field(default_factory=has_bfloat16)
    minutes_max: float | None = None
    bad_samples_max: int = 0
    loader_processes: int = 1


@dataclass(frozen=True, slots=True)
class LevelSchedule:
    """A learning rate that warms up twice, stays level, and falls to zero at the end."""

    recipe: Recipe

    @property
    def step_count(self) -> int:
        """Number of steps in all."""
        return self.recipe.steps

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        since_join = step - self.recipe.dense_steps
        since_start = since_join if since_join >= 0 else step
        warm = min(1.0, (since_start + 1) / self.recipe.warm_up_steps)
        left = 1 - step / self.recipe.steps
        return self.recipe.learning_rate * warm * min(1.0, left / self.recipe.cool_down)


class TinyRun:
    """One run of the recipe in a folder; resumes where the folder has a checkpoint."""

    def __init__(self, folder: Path, recipe: Recipe, console: Console, group: ProcessGroup) -> None:
        """Build the model and the run, and restore the folder's checkpoint.

        Raises:
            ConfigurationError: The checkpoint is of a run with other settings.
        """
        torch.manual_seed(recipe.seed)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._recipe, self._console, self._group = folder, recipe, console, group
        tokenizer = build_tokenizer()
        self.model = build_model(tokenizer)
        network = TaughtModel(self.model, tokenizer)
        if recipe.start_from is None:
            start_from_waves(self.model, network.first_location_id)
        else:
            load_weights(self.model, recipe.start_from)
        self._average = AverageWeights(self.model)
        optimiser = SplitOptimiser(network, self.model.model, weight_decay=recipe.weight_decay)
        self._scorecard = Scorecard(
            self.model,
            build_processor(tokenizer),
            self._average,
            group,
            MeasuringPlan(recipe.evaluate_steps, recipe.evaluate_scenes, recipe.answer_tokens_max),
        )
        parts = Parts(
            objective=SceneObjective(
                network,
                dense_steps=recipe.dense_steps,
                steps=recipe.steps,
                bfloat16=recipe.bfloat16,
            ),
            optimiser=optimiser,
            schedule=LevelSchedule(recipe),
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
        progress = self._run.progress
        report, close = self._monitor()
        limit_s = None if self._recipe.minutes_max is None else self._recipe.minutes_max * 60
        try:
            with stop_on_signals() as request:
                finished = self._run.run(
                    report,
                    lambda: request.made or (limit_s is not None and progress.trained_s >= limit_s),
                )
                stopped = request.made
        finally:
            close()
        if not finished and (stopped or limit_s is None):
            self._console.print(f"stopped after step {progress.step}")
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
    """Train in ``folder`` with a number of processes of one thread each."""
    run_processes(processes, _train, folder, recipe)


def _train(group: ProcessGroup, folder: Path, recipe: Recipe) -> None:
    TinyRun(folder, recipe, Console(quiet=not group.leads), group).train()


def _identity(recipe: Recipe) -> dict[str, object]:
    # The number of steps is not part of it: a run may be made longer.
    deciding = ("seed", "batch", "first_scene", "tasks_a_scene", "learning_rate", "dense_steps")
    return {name: getattr(recipe, name) for name in deciding}


def _facts(recipe: Recipe) -> dict[str, object]:
    """Return what the model card tells about the run."""
    return {
        "batch": recipe.batch,
        "seed": recipe.seed,
        "first_scene": recipe.first_scene,
        "bfloat16": recipe.bfloat16,
        "commit": (source_commit() or "unknown")[:_COMMIT_DIGITS],
        "machine": f"{os.cpu_count()} {os.uname().machine} cores",
    }
