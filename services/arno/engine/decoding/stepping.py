"""How the work of a step is launched: as it comes, or recorded once for each of a few shapes.

On a GPU a step is a few hundred small kernels, and launching them takes longer than running them. A
CUDA graph launches all of them at once, but for one shape only: so shapes are rounded up to a few,
and what is too much of them is masked or belongs to slots that hold nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch

_TOKENS: Final = 64
"""Lengths of answers and of prompts are rounded up to multiples of it."""


@dataclass(frozen=True, slots=True)
class StepShape:
    """The sizes of a step.

    Attributes:
        count: Slots.
        longest: Tokens of the longest answer, start token included.
        encoded: Places of the longest encoded prompt.
    """

    count: int
    longest: int
    encoded: int

    def rounded(self, most: StepShape) -> StepShape:
        """Return the next larger one of a few shapes, none of them larger than the most."""
        count = 1 << (self.count - 1).bit_length()
        return StepShape(
            min(count, most.count),
            min(_up(self.longest), most.longest),
            min(_up(self.encoded), most.encoded),
        )


Body = Callable[[StepShape], torch.Tensor]
"""Works in place on tensors that stay where they are, and returns what has to be read."""


class Stepping(Protocol):
    """A way to run steps."""

    @property
    def few_shapes(self) -> bool:
        """Whether shapes are to be rounded, and room is to be made once and for all."""

    def run(self, shape: StepShape, body: Body) -> torch.Tensor:
        """Run a step and return what its body returns."""


class AsItComes:
    """Launches every kernel by itself."""

    def __init__(self, *, few_shapes: bool = False) -> None:
        """Take whether shapes are rounded all the same, which shows what recording would run."""
        self._few_shapes = few_shapes

    @property
    def few_shapes(self) -> bool:
        """Whether shapes are rounded."""
        return self._few_shapes

    def run(self, shape: StepShape, body: Body) -> torch.Tensor:
        """Run a step."""
        return body(shape)


class Recorded:
    """Records each shape the second time that it comes; the first time warms the kernels up.

    One batch's, since a recording holds the addresses of its tensors. All recordings share the
    memory of what is computed on the way, so a result is to be read before the next run. `graph`
    and `capture` are torch's, or a test's.
    """

    few_shapes: Final = True

    def __init__(
        self,
        graph: Callable[[], Any] = torch.cuda.CUDAGraph,
        capture: Callable[..., Any] = torch.cuda.graph,
    ) -> None:
        """Start without recordings."""
        self._graph, self._capture = graph, capture
        self._seen: set[StepShape] = set()
        self._recordings: dict[StepShape, tuple[Any, torch.Tensor]] = {}
        self._memory: Any = None

    def run(self, shape: StepShape, body: Body) -> torch.Tensor:
        """Run a step: a recording, if there is one."""
        if shape not in self._seen:
            self._seen.add(shape)
            return body(shape)
        if shape not in self._recordings:
            graph = self._graph()
            with self._capture(graph, pool=self._memory):  # records, and runs nothing
                result = body(shape)
            self._memory = self._memory or graph.pool()
            self._recordings[shape] = graph, result
        graph, result = self._recordings[shape]
        graph.replay()
        return result


def choose_stepping(device: torch.device) -> Stepping:
    """Return how the batches of a device step."""
    return Recorded() if device.type == "cuda" else AsItComes()


def _up(length: int) -> int:
    return -(-length // _TOKENS) * _TOKENS
