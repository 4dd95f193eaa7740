"""The training loop: a number of steps, checkpoints that a killed run goes on from, and a log.

Everything follows the step count and the seed, nothing the clock: a run that is killed and resumed
ends with the weights of one that was not. The learning rate stays level until the last part of the
steps, so that a run may be made longer as long as that part has not begun.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from arno.vocabulary import Task
from rich.console import Console

from models.arno_tiny import origin
from models.arno_tiny.architecture import build_model, build_processor, load_weights, save
from models.arno_tiny.auxiliary_heads import start_near
from models.arno_tiny.average import AverageWeights
from models.arno_tiny.batches import TASKS, Batch, Diet, SceneBatches, stream
from models.arno_tiny.crew import Crew
from models.arno_tiny.objective import Losses, Objective
from models.arno_tiny.optimiser import SplitOptimiser
from models.arno_tiny.precision import has_bfloat16, narrow, widen_attention
from models.arno_tiny.run_log import RunLog
from models.arno_tiny.scorecard import TARGETS, score_tasks
from models.arno_tiny.tokenizer import build_tokenizer

_GRADIENT_NORM_MAX: Final = 1.0
# Softness of location targets, in bins, at the start and at the end, and when that is reached.
_SIGMA_START, _SIGMA_END, _SIGMA_END_AT = 20.0, 4.0, 0.6


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of a run.

    Attributes:
        steps: How many, in all.
        batch: Scenes a step, of all processes together.
        tasks_a_scene: Questions about each scene.
        learning_rate: After the warm-up.
        warm_up_steps: How long it rises, at the start and when the answers join.
        weight_decay: Of all weights.
        seed: Of the starting weights.
        start_from: A folder of weights to start from in place of random ones.
        first_scene: Number of the first scene; behind those of the run that made ``start_from``.
        dense_steps: First steps, which train DaViT alone.
        cool_down: Last part of the steps, in which the learning rate falls to nothing.
        checkpoint_steps: How often to save.
        evaluate_steps: How often to measure, and to choose anew how often each task is asked.
        evaluate_scenes: Scenes to measure on.
        repeat_every: Learn so many scenes by heart.
        bfloat16: Multiply matrices in bfloat16.
        minutes_max: Stop there, whatever the steps.
        log_steps: How often to log the losses.
        answer_tokens_max: Limit on each answer in measuring.
    """

    steps: int = 4_000
    batch: int = 32
    tasks_a_scene: int = 4
    learning_rate: float = 1.0e-3
    weight_decay: float = 0.02
    seed: int = 0
    start_from: Path | None = None
    first_scene: int = 0
    warm_up_steps: int = 100
    dense_steps: int = 400
    cool_down: float = 0.25
    checkpoint_steps: int = 100
    evaluate_steps: int = 600
    evaluate_scenes: int = 40
    repeat_every: int | None = None
    bfloat16: bool = field(default_factory=has_bfloat16)
    minutes_max: float | None = None
    log_steps: int = 50
    answer_tokens_max: int = 110


class Run:
    """One training run in a folder; resumes by itself when the folder has a checkpoint."""

    def __init__(self, folder: Path, recipe: Recipe, console: Console, crew: Crew) -> None:
        """Build the model, or load it and its optimiser from the folder's checkpoint."""
        torch.manual_seed(recipe.seed)
        self.folder, self.recipe, self.console, self.crew = folder, recipe, console, crew
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer = build_tokenizer()
        self.processor = build_processor(tokenizer)
        self.model = build_model(tokenizer)
        self.objective = Objective(self.model, tokenizer)
        widen_attention(self.model)
        if recipe.start_from is None:
            start_near(self.model, self.objective.first_location_id)
        else:
            load_weights(self.model, recipe.start_from)
        self.average = AverageWeights(self.model)
        self.optimiser = SplitOptimiser(
            self.objective, self.model.model, weight_decay=recipe.weight_decay
        )
        self.step, self.trained_s = 0, 0.0
        self.scores: dict[Task, float] = {}
        self._log = RunLog(folder, console, step_count=recipe.steps, batch=recipe.batch)
        self._resume()

    def train(self) -> None:
        """Train until the steps are done, then save the model."""
        with self._log:
            self._train()
        if self.step % self.recipe.evaluate_steps:
            self._evaluate()
        self._checkpoint()
        if self.crew.leads:
            with self.average.in_place():
                save(self.model, self.folder / "model")

    def _train(self) -> None:
        batches = self._stream()
        last = logged = time.monotonic()
        while not self._done():
            self._log.count(self._step(next(batches)).parts, self.step)
            now = time.monotonic()
            self.trained_s += now - last
            last = now
            if self.step % self.recipe.log_steps == 0:
                self._log_losses(self.recipe.log_steps * self.recipe.batch / (now - logged))
                logged = now
            if self.step % self.recipe.evaluate_steps == 0:
                self._evaluate()
                # The tasks are asked anew from here on, by what lags.
                batches = self._stream()
                last = logged = time.monotonic()
            if self.step % self.recipe.checkpoint_steps == 0:
                self._checkpoint()

    def _done(self) -> bool:
        if self.recipe.minutes_max is None:
            return self.step >= self.recipe.steps
        # Each has its own clock, and all must stop after the same step.
        return self.crew.tell(self.trained_s)[0] >= self.recipe.minutes_max * 60

    def _stream(self) -> Iterator[Batch]:
        diet = Diet(
            size=self.recipe.batch // self.crew.size,
            tasks_a_scene=self.recipe.tasks_a_scene,
            weights=task_weights(self.scores),
            repeat_every=self.recipe.repeat_every,
        )
        first = self.recipe.first_scene + self.step * self.recipe.batch
        batches = SceneBatches(diet, first, worker=self.crew.rank, workers=self.crew.size)
        return stream(batches)

    def _step(self, batch: Batch) -> Losses:
        dense = self.step < self.recipe.dense_steps
        sharpened = min(1.0, self.step / self.recipe.steps / _SIGMA_END_AT)
        self.objective.soften(_SIGMA_START * (_SIGMA_END / _SIGMA_START) ** sharpened)
        with narrow(self.recipe.bfloat16):
            losses = self.objective.dense(batch) if dense else self.objective.full(batch)
        self.optimiser.zero_grad()
        torch.autograd.backward(losses.total)
        self.crew.average_gradients(self.objective.parameters())
        torch.nn.utils.clip_grad_norm_(self.objective.parameters(), _GRADIENT_NORM_MAX)
        self.optimiser.step(self._learning_rate())
        self.step += 1
        self.average.follow(self.step)
        return losses

    def _learning_rate(self) -> float:
        """Warm up, at the start and again when the answers join; stay level; fall to nothing."""
        joined = self.step - self.recipe.dense_steps
        warm = min(1.0, ((joined if joined >= 0 else self.step) + 1) / self.recipe.warm_up_steps)
        left = 1 - self.step / self.recipe.steps
        return self.recipe.learning_rate * warm * min(1.0, left / self.recipe.cool_down)

    def _log_losses(self, rate: float) -> None:
        if self.crew.leads:
            self._log.write_losses(
                self.step, self.trained_s / 60, rate=rate, learning_rate=self._learning_rate()
            )

    def _checkpoint(self) -> None:
        if not self.crew.leads:
            return
        partial = self.folder / "checkpoint.part"
        state = {
            "objective": self.objective.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "batch": self.recipe.batch,
            "trained_s": self.trained_s,
            "scores": {str(task): score for task, score in self.scores.items()},
            "seed": self.recipe.seed,
            "first_scene": self.recipe.first_scene,
            "bfloat16": self.recipe.bfloat16,
            "commit": origin.commit(),
            "machine": origin.machine(),
        }
        torch.save(state, partial)
        # A rename is atomic: a kill in between leaves the older checkpoint.
        partial.replace(self.folder / "checkpoint.pt")

    def _resume(self) -> None:
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        self.objective.load_state_dict(state["objective"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.trained_s = state["step"], state["trained_s"]
        self.scores = {Task(name): score for name, score in state["scores"].items()}
        self.console.print(f"resumed at step {self.step}, {self.trained_s / 60:.1f} minutes")

    def _evaluate(self) -> None:
        if self.step <= self.recipe.dense_steps:
            return
        self.model.train(mode=False)
        with self.average.in_place():
            own = score_tasks(
                self.model,
                self.processor,
                TASKS[self.crew.rank :: self.crew.size],
                range(self.recipe.evaluate_scenes),
                tokens_max=self.recipe.answer_tokens_max,
            )
        self.model.train()
        for scores in self.crew.tell(own):
            self.scores.update(scores)
        if self.crew.leads:
            by_name = {str(task): self.scores[task] for task in TASKS}
            self._log.write_scores(self.step, self.trained_s / 60, by_name)


def task_weights(scores: dict[Task, float]) -> dict[Task, float]:
    """Return how often to ask each task: more often what is far from its target."""
    lag = {task: max(0.0, 1 - scores.get(task, 0.0) / TARGETS[task]) for task in TASKS}
    return {task: _BASE_WEIGHTS.get(task, 1.0) * (0.4 + lag[task]) for task in TASKS}


_BASE_WEIGHTS: Final = {
    # What the others build on, and reading, which only some of the scenes have something for.
    Task.OD: 2.0,
    Task.OCR: 2.0,
    Task.REGION_TO_OCR: 1.5,
    Task.OCR_WITH_REGION: 2.0,
    Task.CAPTION_TO_PHRASE_GROUNDING: 1.5,
    Task.REFERRING_EXPRESSION_SEGMENTATION: 1.5,
}
