"""A slowly moving average of a model's weights: nearly what a falling learning rate would give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import nn

_DECAY_MAX: Final = 0.9995


class AverageWeights:
    """The average of a model's weights over about the last two thousand steps."""

    def __init__(self, model: nn.Module) -> None:
        """Start from the present weights."""
        self._own = [parameter.detach() for parameter in model.parameters()]
        self._average = [parameter.clone() for parameter in self._own]

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move towards the weights after a step, counted from 1; faster in the first steps."""
        decay = min(_DECAY_MAX, (1 + step) / (10 + step), max(0.9, 1 - 10 / (step + 1)))
        torch._foreach_lerp_(self._average, self._own, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Return a block in which the model has the average weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, list[torch.Tensor]]:
        """Return the average, in the order of the model's parameters."""
        return {"average": self._average}

    def load_state_dict(self, state: dict[str, list[torch.Tensor]]) -> None:
        """Take the average from a checkpoint."""
        for average, kept in zip(self._average, state["average"], strict=True):
            average.copy_(kept)

    @torch.no_grad()
    def _swap(self) -> None:
        for own, average in zip(self._own, self._average, strict=True):
            kept = own.clone()
            own.copy_(average)
            average.copy_(kept)
