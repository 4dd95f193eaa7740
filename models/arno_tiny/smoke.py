"""Train for a few minutes, and compare the answers of the result in transformers and in Arno."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from arno.training.data import Sample
from arno.training.data.world import samples
from arno.training.evaluation.answering import DecodingChoice
from arno.training.evaluation.local import open_model
from arno.training.world import Split
from arno.vocabulary import Answer
from transformers import (
    AutoProcessor,
    CLIPImageProcessorPil,
    Florence2ForConditionalGeneration,
)

from models.arno_tiny.recipe import Recipe, launch
from models.arno_tiny.scorecard import answer, question_of

_DECODING: Final = DecodingChoice(num_beams=3, max_new_tokens=32)
_SCENES: Final = 4
_LOSS_RATIO_MAX: Final = 0.9
"""Limit on the last loss, as a part of the first."""


@dataclass(frozen=True, slots=True)
class Smoke:
    """The result of a smoke test.

    Attributes:
        steps: Number of training steps.
        first_loss: Loss of the answers, the mean over the first logged steps.
        last_loss: Loss of the answers, the mean over the last logged steps.
        asked_count: Number of questions asked in transformers and in Arno.
        equal_count: Number of questions with the same text for an answer in both.
    """

    steps: int
    first_loss: float
    last_loss: float
    asked_count: int
    equal_count: int

    @property
    def is_good(self) -> bool:
        """Whether the loss fell and all answers are equal."""
        fell = self.last_loss < _LOSS_RATIO_MAX * self.first_loss
        return fell and self.asked_count == self.equal_count > 0


def smoke(*, minutes: float, processes: int) -> Smoke:
    """Train, then load the saved model in transformers and in Arno, and compare their answers."""
    recipe = Recipe(
        minutes_max=minutes,
        batch=16,
        warm_up_steps=20,
        dense_steps=0,
        log_steps=5,
        checkpoint_steps=1000,
        evaluate_scenes=1,
        answer_tokens_max=8,
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        launch(folder, recipe, processes)
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        losses = [line["answer"] for line in lines if "answer" in line]
        asked = [one for index in range(_SCENES) for one in samples(Split.VALIDATION, index)]
        plain = _answers_of_transformers(folder / "model", asked)
        served = _answers_of_arno(folder / "model", asked)
    return Smoke(
        steps=lines[-1]["step"],
        first_loss=losses[0],
        last_loss=losses[-1],
        asked_count=len(asked),
        equal_count=sum(plain[one.sample_id] == served[one.sample_id] for one in asked),
    )


def _answers_of_transformers(folder: Path, asked: Sequence[Sample]) -> dict[str, str]:
    model = Florence2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    model.train(mode=False)
    processor = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]
    # Where torchvision is installed, transformers would resize with it, and to other levels.
    processor.image_processor = CLIPImageProcessorPil.from_pretrained(folder)
    limit = _DECODING.max_new_tokens or 0
    said = answer(model, processor, asked, beams=_DECODING.num_beams, tokens_max=limit)
    return {sample.sample_id: one.raw_text for sample, one in zip(asked, said, strict=True)}


def _answers_of_arno(folder: Path, asked: Sequence[Sample]) -> dict[str, str]:
    answerer = open_model(str(folder), _DECODING, device="cpu")
    try:
        return {
            reply.question_id: reply.outcome.raw_text
            for reply in answerer.ask([question_of(sample) for sample in asked])
            if isinstance(reply.outcome, Answer)
        }
    finally:
        answerer.close()
