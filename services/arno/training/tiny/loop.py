"""The training loop: a wall-clock budget, checkpoints that a killed run goes on from, and a log.

The schedule follows the clock and not the step count, so that a busy machine gives fewer images and
still a finished model.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from arno.training.evaluation import measure
from arno.training.tiny.aids import start_near
from arno.training.tiny.architecture import build_model, build_processor, save
from arno.training.tiny.batches import Batch, SceneBatches, stream
from arno.training.tiny.crew import Crew
from arno.training.tiny.objective import Losses, Objective
from arno.training.tiny.tokenizer import build_tokenizer
from arno.training.world import Split

_LOG_STEPS = 40
_SOFTEN_STEPS = 200
_WARM_UP_STEPS = 300
_GRADIENT_NORM_MAX = 1.0
# Softness of location targets, in bins, at the start and at the end.
_SIGMA_START, _SIGMA_END = 20.0, 5.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of a run. ``batch`` counts the scenes of all processes together."""

    minutes: float = 90.0
    batch: int = 48
    learning_rate: float = 1.2e-3
    weight_decay: float = 0.02
    seed: int = 0
    dense_part: float = 0.1
    checkpoint_minutes: float = 3.0
    evaluate_minutes: float = 8.0
    evaluate_scenes: int = 100
    repeat_every: int | None = None


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
        start_near(self.model, self.objective.first_location_id)
        self.optimiser = torch.optim.AdamW(
            self.objective.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
        )
        self.step, self.images, self.trained_s, self.joined_step = 0, 0, 0.0, -1
        self._resume()

    def train(self) -> None:
        """Train until the budget is spent, then save the model."""
        budget_s = self.recipe.minutes * 60
        batches = stream(
            SceneBatches(
                self.recipe.batch // self.crew.size,
                self.images,
                worker=self.crew.rank,
                workers=self.crew.size,
                repeat_every=self.recipe.repeat_every,
            )
        )
        last = saved = evaluated = time.monotonic()
        logged_s, logged_images = self.trained_s, self.images
        while (progress := self.crew.agree(self.trained_s / budget_s)) < 1:
            losses = self._step(next(batches), progress)
            now = time.monotonic()
            self.trained_s += now - last
            last = now
            if not self.crew.leads:
                continue
            if self.step % _LOG_STEPS == 0:
                rate = (self.images - logged_images) / (self.trained_s - logged_s)
                self._log(rate=round(rate, 1), **losses.parts)
                logged_s, logged_images = self.trained_s, self.images
            if now - saved > self.recipe.checkpoint_minutes * 60:
                self._checkpoint()
                saved = now
            if self.joined_step >= 0 and now - evaluated > self.recipe.evaluate_minutes * 60:
                self._evaluate()
                # Measuring is not training: the schedule keeps its images.
                evaluated = last = time.monotonic()
        if self.crew.leads:
            self._checkpoint()
            save(self.model, self.folder / "model")
            self._evaluate()

    def _step(self, batch: Batch, progress: float) -> Losses:
        joined = progress >= self.recipe.dense_part
        if joined and self.joined_step < 0:
            self.joined_step = self.step
        if self.step % _SOFTEN_STEPS == 0:
            self.objective.soften(_SIGMA_START * (_SIGMA_END / _SIGMA_START) ** progress)
        losses = self.objective.full(batch) if joined else self.objective.dense(batch)
        self.optimiser.param_groups[0]["lr"] = self._learning_rate(progress)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(losses.total)
        self.crew.average_gradients(self.objective.parameters())
        torch.nn.utils.clip_grad_norm_(self.objective.parameters(), _GRADIENT_NORM_MAX)
        self.optimiser.step()
        self.step += 1
        self.images += self.recipe.batch
        return losses

    def _learning_rate(self, progress: float) -> float:
        """Follow a cosine; warm up at the start, and again when the sequence loss joins."""
        since = self.step - max(self.joined_step, 0)
        warm = min(1.0, (since + 1) / _WARM_UP_STEPS)
        cosine = (1 + math.cos(math.pi * progress)) / 2
        return self.recipe.learning_rate * warm * (0.01 + 0.99 * cosine)

    def _log(self, **values: float) -> None:
        line = {
            "step": self.step,
            "images": self.images,
            "minutes": round(self.trained_s / 60, 2),
            **{name: round(value, 4) for name, value in values.items()},
        }
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        self.console.print(line, soft_wrap=True)

    def _checkpoint(self) -> None:
        partial = self.folder / "checkpoint.part"
        state = {
            "objective": self.objective.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "images": self.images,
            "trained_s": self.trained_s,
            "joined_step": self.joined_step,
            "seed": self.recipe.seed,
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
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.images = state["step"], state["images"]
        self.trained_s, self.joined_step = state["trained_s"], state["joined_step"]
        self.console.print(f"resumed at step {self.step}, {self.trained_s / 60:.1f} minutes")

    def _evaluate(self) -> None:
        self.model.train(mode=False)
        figures = measure(
            self.model,
            self.processor,
            Split.VALIDATION,
            scenes=self.recipe.evaluate_scenes,
            beams=3,
        )
        self.model.train()
        self._log(**figures.as_dict())
