"""The decode step of a small model, compiled for numbers of beams.

A step of a small model is a hundred small kernels, and launching them from Python takes longer than
running them. Compiled it is one call, in which they are fused. Its weights are arguments, those of
the plain decoder. Of a large model the products take all the time, and they are as quick plain.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from arno.engine.checkpoints import Checkpoint
from arno.engine.compiled.native import NativePackage
from arno.engine.compiled.packages import Packages, compile_module, load_packages
from arno.engine.decoding.beam_table import OPENING, BeamTable
from arno.engine.decoding.cache import SlotCache
from arno.engine.decoding.decoder import Decoder
from arno.engine.decoding.step import (
    COMPILED_TOKENS,
    StepFunction,
    StepState,
    plain_step,
)
from arno.engine.interface import DecodingOptions
from arno.engine.sequences.sequence import batch_key

BEAMS: Final = (1, 3)
"""Numbers of beams whose steps are compiled, with the other options as they are by default."""

_DEVIATION_MAX: Final = 1e-4

_COUNT: Final = 3
_ENCODED: Final = 20
"""Sizes of the example: no two sizes that may differ are equal in it."""


class StepPart:
    """The `Part`; its sizes are numbers of beams."""

    name = "step"
    title = "decode step"

    def sizes(self, checkpoint: Checkpoint) -> tuple[int, ...]:
        """Return the numbers of beams to compile for: none of a large model."""
        return BEAMS if Decoder(checkpoint.network).is_small else ()

    def compile(self, checkpoint: Checkpoint, size: int, package: Path) -> None:
        """Write the package for a number of beams."""
        module, arguments, sizes = step_to_export(checkpoint, size)
        compile_module(module, arguments, package, sizes=sizes)

    @torch.inference_mode()
    def deviation(self, checkpoint: Checkpoint, packages: Packages) -> float:
        """Return the largest difference of a state after a step, over its largest number."""
        found = [0.0]
        for beams, package in load_packages(packages).items():
            for count in (1, _COUNT):
                plain, compiled = (_Example(checkpoint, beams, count) for _ in range(2))
                search = plain.table.search
                plain_step(plain.decoder, search)(plain.state, *plain.sizes)
                run = CompiledSteps({beams: package}, compiled.decoder)[beams]
                run(compiled.state, *compiled.sizes)
                found += map(_difference, plain.state.tensors(), compiled.state.tensors())
        return max(found)

    def deviation_max(self, dtype: str) -> float:
        """Return the largest difference that is kept."""
        return _DEVIATION_MAX

    def put_in_place(self, network: Any, packages: Packages) -> None:
        """Load packages, for the steps of this network."""
        network.model.language_model.decoder.compiled_steps = load_packages(packages)


class CompiledSteps:
    """The compiled steps of a decoder: a `StepChoice`."""

    def __init__(self, packages: Mapping[int, NativePackage], decoder: Decoder) -> None:
        """Take packages by numbers of beams, and the decoder whose weights they use."""
        self._packages = packages
        self._weights = decoder.tensors()
        self._marks = _marks(decoder.position_count + COMPILED_TOKENS)

    @classmethod
    def of(cls, network: Any, decoder: Decoder) -> CompiledSteps:
        """Return what `StepPart` put in place in a network."""
        stack = network.model.language_model.decoder
        return cls(getattr(stack, "compiled_steps", {}), decoder)

    def __call__(self, options: DecodingOptions) -> StepFunction | None:
        """Return the step for batches with these options."""
        known = options == _options(options.num_beams) and options.num_beams in self._packages
        return self[options.num_beams] if known else None

    def __getitem__(self, beams: int) -> StepFunction:
        """Return the step for a number of beams."""
        package = self._packages[beams]

        def step(state: StepState, longest: int, encoded: int) -> torch.Tensor:
            marks = (self._marks[:longest], self._marks[:encoded])
            finished, *_ = package(*self._weights, *state.tensors(), *marks)
            return finished

        return step


def step_to_export(checkpoint: Checkpoint, beams: int) -> tuple[nn.Module, tuple[Any, ...], Any]:
    """Return a step as a module, arguments like its own, and which of their sizes differ."""
    example = _Example(checkpoint, beams)
    weights, state = example.decoder.tensors(), example.state.tensors()
    sizes = ([None] * len(weights), _sizes(example.decoder.layer_count), *[{0: _ANY}] * 2)
    return _Step(example), (weights, state, *example.marks), sizes


class _Example:
    """A batch of made-up prompts after its first token."""

    def __init__(self, checkpoint: Checkpoint, beams: int, count: int = _COUNT) -> None:
        self.decoder = Decoder(checkpoint.network)
        device, width = self.decoder.device, checkpoint.card.position_count + 1
        self.sizes = (COMPILED_TOKENS, _ENCODED)
        self.marks = tuple(map(_marks, self.sizes))
        noise = torch.randn(
            (count, _ENCODED, self.decoder.width), generator=torch.Generator().manual_seed(0)
        )
        started = self.decoder.start(noise, None)
        cache = SlotCache(self.decoder, count, beams)
        cache.fill(0, started, [_ENCODED - row for row in range(count)])
        self.table = BeamTable(
            _options(beams),
            count,
            width,
            device,
            location_ids=checkpoint.token_table.location_ids,
        )
        self.table.open(0, [width - 1] * count)
        part = slice(0, count)
        logits = started.logits[:, None].expand(-1, beams, -1)
        advance = self.table.update(part, logits, len(OPENING))
        cache.inherit(part, advance.parents)
        self.state = StepState(self.table.rows(part), cache.slots(part))


class _Step(nn.Module):
    def __init__(self, example: _Example) -> None:
        super().__init__()
        self._decoder, self._search = example.decoder, example.table.search

    def forward(
        self,
        weights: list[torch.Tensor],
        tensors: list[torch.Tensor],
        answers: torch.Tensor,
        prompts: torch.Tensor,
    ) -> torch.Tensor:
        """Do a step; of the last two only the lengths count, because sizes are no arguments."""
        state, longest, encoded = StepState.of(tensors), answers.shape[0], prompts.shape[0]
        torch._check(longest < state.rows.tokens.shape[2])
        torch._check(longest * state.slots.hidden.shape[1] <= state.slots.hidden.shape[2])
        torch._check(encoded <= state.slots.padding.shape[3])
        return plain_step(self._decoder.over(weights), self._search)(state, longest, encoded)


_ANY: Final = torch.export.Dim.AUTO


def _sizes(layers: int) -> list[dict[int, Any]]:
    """Return which sizes of a state differ from step to step, by tensor."""
    tokens, others = {0: _ANY, 2: _ANY}, [{0: _ANY}] * 8
    padding, hidden = {0: _ANY, 3: _ANY}, {0: _ANY, 2: _ANY}
    keys, values = [{0: _ANY, 3: _ANY}] * layers, [{0: _ANY, 2: _ANY}] * layers
    return [tokens, *others, padding, hidden, *keys, *values, *keys, *values]


def _marks(length: int) -> torch.Tensor:
    return torch.empty(length, dtype=torch.bool)


def _options(beams: int) -> DecodingOptions:
    return batch_key(DecodingOptions(num_beams=beams)).options


def _difference(plain: torch.Tensor, compiled: torch.Tensor) -> float:
    """Return the largest difference over the largest number; infinite ones must be the same."""
    same = plain == compiled
    apart = (plain.double() - compiled.double()).abs().masked_fill(same, 0.0).max()
    finite = plain.double().abs().masked_fill(plain.isinf(), 0.0).max()
    return float(apart / finite.clamp(min=1.0))
