"""Run an engine's decode steps before it is relied on, so that none is recorded for a caller.

Stands alone: the tests of the path for GPUs run it over a pool on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from arno.engine.checkpoints import Checkpoint
from arno.engine.decoding.launchers import StepShape
from arno.engine.decoding.pool import DecodePool
from arno.engine.interface import DecodingOptions
from arno.engine.layers.vision_gpu import compile_vision, encode_blank, group_sizes
from arno.engine.settings import EngineSettings

_LENGTHS: Final = (256, 128, 64)
"""Lengths of answers whose steps are recorded; longer ones are when they first come."""

_PROMPT_TOKENS: Final = 32
"""Length of a prompt with room for a phrase or two."""


def widths(limit: int) -> Iterator[int]:
    """Yield 1, 2, 4 and so on below the limit, then the limit."""
    width = 1
    while width < limit:
        yield width
        width *= 2
    yield limit


def step_shapes(sequences_max: int, image_positions: int) -> list[StepShape]:
    """Return the shapes of usual steps, the largest first, whose memory the others then share."""
    return [
        StepShape(count, longest, image_positions + _PROMPT_TOKENS)
        for count in sorted(widths(sequences_max), reverse=True)
        for longest in _LENGTHS
    ]


def warm_decoding(pool: DecodePool, sequences_max: int, image_positions: int) -> None:
    """Record the usual steps of the default search and of greedy search.

    Args:
        pool: The decode batches, empty.
        sequences_max: Most sequences that decode together.
        image_positions: Positions of an encoded image.
    """
    shapes = step_shapes(sequences_max, image_positions)
    for beams in (1, DecodingOptions().num_beams):
        pool.warm(DecodingOptions(num_beams=beams), shapes)


def warm_gpu(
    checkpoint: Checkpoint, pool: DecodePool, settings: EngineSettings, group_max: int
) -> tuple[int, ...]:
    """Compile the vision encoder, unless the settings say not to, and record the usual steps.

    Returns:
        The numbers of images that the encoder is compiled for; none where it is not.

    Args:
        checkpoint: The model.
        pool: The decode batches, empty.
        settings: Of the engine.
        group_max: Most images that are encoded together.
    """
    network, side_px = checkpoint.network, checkpoint.recipe.side_px
    sizes = group_sizes(group_max)
    compiled = settings.vision_compile != "off" and compile_vision(network, side_px, sizes)
    positions = encode_blank(network, side_px, group_max).shape[1]
    warm_decoding(pool, settings.batch_sequences_max, positions)
    return sizes if compiled else ()
