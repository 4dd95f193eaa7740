"""Launch the kernels of a step one by one, or as a CUDA graph recorded for each of a few shapes.

On a GPU a step is a few hundred small kernels, and launching them takes longer than running them. A
CUDA graph launches all of them at once, but for one shape only. So shapes are rounded up to a few,
and the excess is masked or belongs to empty slots.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch

from arno.engine.device import require_device

logger = logging.getLogger(__name__)

_TOKENS: Final = 64
"""Lengths of prompts are rounded up to multiples of this; those of answers to it times a power of
two, because few answers are long."""


@dataclass(frozen=True, slots=True)
class StepShape:
    """The sizes of a step.

    Attributes:
        count: Slots.
        longest: Tokens of the longest answer, start token included.
        encoded: Positions of the longest encoded prompt.
    """

    count: int
    longest: int
    encoded: int

    def rounded(self, limits: StepShape) -> StepShape:
        """Return the next larger one of a few shapes, none of them larger than the limits."""
        return StepShape(
            min(_power_of_two(self.count), limits.count),
            min(_TOKENS * _power_of_two(_blocks(self.longest)), limits.longest),
            min(_TOKENS * _blocks(self.encoded), limits.encoded),
        )


Body = Callable[[StepShape], torch.Tensor]
"""Works in place on tensors that never move, and returns the tensor that the host reads."""


class StepLauncher(Protocol):
    """A way to launch the kernels of steps."""

    @property
    def few_shapes(self) -> bool:
        """Whether shapes are to be rounded, and all memory to be allocated at the start."""

    def run(self, shape: StepShape, body: Body) -> torch.Tensor:
        """Run a step and return the result of its body."""

    def forget(self) -> None:
        """Use nothing that was recorded: tensors of the body are others from now on."""


class EagerLauncher:
    """Launches the kernels one by one."""

    def __init__(self, *, few_shapes: bool = False) -> None:
        """Take whether shapes are rounded all the same, which runs the same work as a recording."""
        self._few_shapes = few_shapes

    @property
    def few_shapes(self) -> bool:
        """Whether shapes are rounded."""
        return self._few_shapes

    def run(self, shape: StepShape, body: Body) -> torch.Tensor:
        """Run a step."""
        return body(shape)

    def forget(self) -> None:
        """Do nothing."""


class GraphLauncher:
    """Records a CUDA graph of each shape at its second run; the first run warms the kernels up.

    It serves one batch, because a graph holds the addresses of its tensors. All graphs share the
    memory of intermediate results, so a result must be read before the next run. A shape that
    cannot be recorded runs kernel by kernel from then on.
    """

    few_shapes: Final = True

    def __init__(
        self,
        graph: Callable[[], Any] = torch.cuda.CUDAGraph,
        capture: Callable[..., Any] = torch.cuda.graph,
    ) -> None:
        """Start without graphs.

        Args:
            graph: Makes a graph; torch's, or a test's.
            capture: Context manager that records into a graph; torch's, or a test's.
        """
        self._graph, self._capture = graph, capture
        self._seen: set[StepShape] = set()
        self._recordings: dict[StepShape, tuple[Any, torch.Tensor] | None] = {}
        self._memory: Any = None

    def run(self, shape: StepShape, body: Body) -> torch.Tensor:
        """Run a step: its graph, if there is one."""
        if shape not in self._seen:
            self._seen.add(shape)
            return body(shape)
        if shape not in self._recordings:
            self._recordings[shape] = self._record(shape, body)
        recording = self._recordings[shape]
        if recording is None:
            return body(shape)
        graph, result = recording
        graph.replay()
        return result

    def forget(self) -> None:
        """Drop the graphs; each shape is recorded again at its second run from now on."""
        self._seen.clear()
        self._recordings.clear()
        self._memory = None  # which goes with the last graph

    def _record(self, shape: StepShape, body: Body) -> tuple[Any, torch.Tensor] | None:
        """Return the graph of a shape with its result; None where it cannot be recorded."""
        graph = self._graph()
        try:
            # Other threads allocate pinned memory meanwhile, which the strictest mode forbids.
            with self._capture(graph, pool=self._memory, capture_error_mode="thread_local"):
                result = body(shape)  # recorded, not run
        except Exception as fault:
            require_device(fault)
            logger.warning("a step cannot be recorded: %s", shape, exc_info=fault)
            return None
        self._memory = self._memory or graph.pool()
        return graph, result


def choose_launcher(device: torch.device) -> StepLauncher:
    """Return the launcher that suits a device."""
    return GraphLauncher() if device.type == "cuda" else EagerLauncher()


def _blocks(length: int) -> int:
    return -(-length // _TOKENS)


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()
