"""Which parts of a model a start runs compiled, and the form of those that it does not."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Final

from transformers import Florence2ForConditionalGeneration

from arno.engine.checkpoints import Checkpoint
from arno.engine.compiled.packages import (
    Part,
    compile_and_keep,
    compiled_folder,
    packages_of,
    read_facts,
)
from arno.engine.compiled.steps import StepPart
from arno.engine.compiled.vision import CompiledTower, VisionPart
from arno.engine.encoding.prompt_encoding import pack_encoder
from arno.engine.interface import ModelCard
from arno.engine.layers.int8 import INT8, Int8Linear
from arno.engine.layers.linear import lay_out
from arno.engine.layers.vision_gpu import lay_out_vision
from arno.engine.settings import EngineSettings
from arno.errors import ModelError

logger = logging.getLogger(__name__)

PARTS: Final[tuple[Part, ...]] = (VisionPart(), StepPart())
"""What `arno model compile` compiles of every model."""

COMPILED_DTYPES: Final = ("float32", "bfloat16", INT8)
"""Number formats that are compiled on a CPU."""


def lay_out_encoders_of(checkpoint: Checkpoint, settings: EngineSettings) -> tuple[int, ...]:
    """Give a model's encoders their form for the device, compiled where that is kept.

    Returns:
        The numbers of images that the vision encoder takes at once; none where any will do.

    Raises:
        ModelError: It was to be compiled, and cannot be.
    """
    use_compiled(checkpoint, settings)
    int8 = checkpoint.card.dtype == INT8
    lay_out_encoders(checkpoint.network, vision_int8=int8)
    # Of 8-bit products the scales are those of all rows, which must be of one image.
    return (1,) if int8 else ()


def lay_out_encoders(
    network: Florence2ForConditionalGeneration, *, vision_int8: bool = False
) -> None:
    """Lay out the vision and the text encoder for their processor.

    The decoder is not touched: `Decoder` lays out its own weights.

    Args:
        network: Is changed.
        vision_int8: Multiply 8-bit integers in the vision encoder. Nowhere else: their scales are
            those of all rows of a product, and a prompt's must not depend on other prompts.
    """
    untyped: Any = network.model
    lay_out(untyped.vision_tower, int8=Int8Linear if vision_int8 else None)
    lay_out(untyped.multi_modal_projector)
    pack_encoder(network)
    if network.device.type == "cuda":
        lay_out_vision(untyped.vision_tower)


def card_of(checkpoint: Checkpoint) -> ModelCard:
    """Return the card of a model whose encoders have their form."""
    untyped: Any = checkpoint.network.model
    return replace(checkpoint.card, compiled=isinstance(untyped.vision_tower, CompiledTower))


def use_compiled(checkpoint: Checkpoint, settings: EngineSettings) -> bool:
    """Put kept packages in the place of the plain parts; return whether they were used.

    Without packages it compiles them if `vision_compile` is `on`, which takes minutes; if it is
    `auto`, it says how to make them.

    Raises:
        ModelError: It was to be compiled, and cannot be.
    """
    if settings.vision_compile == "off" or checkpoint.network.device.type != "cpu":
        return False
    if checkpoint.card.dtype not in COMPILED_DTYPES:
        if settings.vision_compile == "on":
            wanted = f"{', '.join(COMPILED_DTYPES[:-1])} or {COMPILED_DTYPES[-1]}"
            raise ModelError(f"vision_compile: on takes {wanted}, not {checkpoint.card.dtype}")
        return False
    folder = compiled_folder(checkpoint, settings)
    facts = read_facts(folder)
    if facts is None:
        if settings.vision_compile != "on":
            logger.info(
                "the model runs uncompiled: for this model, torch and processor nothing "
                "is kept (`arno model compile`)",
                extra={"folder": str(folder)},
            )
            return False
        facts = compile_and_keep(checkpoint, folder, PARTS)
    try:
        for part in PARTS:
            packages = packages_of(folder, part.name, facts.sizes[part.name])
            part.put_in_place(checkpoint.network, packages)
    except Exception:  # the loader raises various classes
        logger.warning("the model runs uncompiled: %s", folder, exc_info=True)
        return False
    used = " and ".join(f"the {part.title}" for part in PARTS if facts.sizes[part.name])
    logger.info("compiled: %s", used, extra={"folder": str(folder)})
    return True
