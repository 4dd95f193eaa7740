"""Answer questions with a model in this process."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import torch

from arno.engine.in_process.florence import Florence, load
from arno.training.evaluation.answering import DecodingChoice, JudgedModel, Reply
from arno.training.evaluation.questions import Question
from arno.vocabulary import Box, ImageSize, TaskSpec

_IN_FLIGHT_MAX: Final = 512
"""Questions in the engine at once: it chooses what to decode together from these."""


def open_model(name: str, choice: DecodingChoice, *, device: str) -> LocalAnswerer:
    """Load a model and return its answerer, to be closed in the end.

    Args:
        name: ``tiny``, a folder, or a hub id in the local cache.
        choice: How it decodes.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``.

    Raises:
        ModelError: The model cannot be found, read or served.
    """
    # Untrained models are allowed: an evaluation may be there to measure one.
    florence = load(name, device=device, allow_untrained=True)
    return LocalAnswerer(florence, choice, device=_device_name(device))


def _device_name(device: str) -> str:
    if device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return str(torch.cuda.get_device_name(torch.device("cuda" if device == "auto" else device)))


class LocalAnswerer:
    """An `Answerer` over a model in this process."""

    def __init__(self, florence: Florence, choice: DecodingChoice, *, device: str) -> None:
        """Take the model, how to decode, and the device's name for reports."""
        self._florence = florence
        self._choice = choice
        self._device = device

    @property
    def model(self) -> JudgedModel:
        """The loaded model."""
        model = self._florence.model
        return JudgedModel(model.name, model.fingerprint, model.dtype, f"local {self._device}")

    def close(self) -> None:
        """Free the model. Idempotent."""
        self._florence.close()

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply]:
        """Yield a reply to every question, image by image."""
        groups = [
            tuple(group)
            for _, group in itertools.groupby(questions, key=lambda question: question.image_id)
        ]
        asked = ((group[0].picture, [self._spec(each) for each in group]) for group in groups)
        results = self._florence.ask_many(asked, in_flight_max=_IN_FLIGHT_MAX)
        for group, result in zip(groups, results, strict=True):
            for question, task in zip(group, result.tasks, strict=True):
                yield Reply(question.question_id, task.outcome)

    def _spec(self, question: Question) -> TaskSpec:
        spec = question.spec
        return replace(
            spec,
            id="",
            region=spec.region and _inside(spec.region, question.size),
            num_beams=self._choice.num_beams,
            max_new_tokens=self._choice.max_new_tokens,
        )


def _inside(region: Box, size: ImageSize) -> Box:
    """Return a region without what annotation tools rounded to beyond the image's edge."""
    return Box(
        max(0.0, region.x0),
        max(0.0, region.y0),
        min(float(size.width_px), region.x1),
        min(float(size.height_px), region.y1),
    )
