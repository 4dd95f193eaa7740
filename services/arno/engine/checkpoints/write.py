"""Write a checkpoint in the native layout: a folder that transformers and Arno both load."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from transformers import (
    CLIPImageProcessorPil,
    Florence2Config,
    Florence2Processor,
    PreTrainedTokenizerBase,
)

from arno.engine.checkpoints.assembly import HEAD, SHARED
from arno.engine.checkpoints.markers import IMAGE_TOKEN
from arno.engine.image_preparation import PixelRecipe
from arno.errors import ModelError

_POST_PROCESSOR: Final = {
    "ocr": {"pattern": r"(.+?)" + r"<loc_(\d+)>" * 8, "area_threshold": 0.0},
    "phrase_grounding": {"banned_grounding_tokens": ["it", "this", "that", "the image"]},
    **{
        kind: {}
        for kind in (
            *("pure_text", "description_with_bboxes", "description_with_polygons"),
            *("description_with_bboxes_or_polygons", "polygons", "bboxes"),
        )
    },
}
"""For transformers' own parser, which wants to be told what it parses; Arno has its own."""


def write_checkpoint(
    folder: Path,
    config: Florence2Config,
    weights: Mapping[str, torch.Tensor],
    tokenizer: PreTrainedTokenizerBase,
    recipe: PixelRecipe,
    *,
    marks: Mapping[str, object],
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        folder: Made; must be empty if it is there.
        config: Its native configuration.
        weights: By native name; what is one matrix is written once.
        tokenizer: With Florence-2's markers.
        recipe: How images are prepared.
        marks: Fields of Arno's own for `config.json`.

    Raises:
        ModelError: The folder holds something, or cannot be written.
    """

    def fill(target: Path) -> None:
        fields = config.to_dict() | {"architectures": ["Florence2ForConditionalGeneration"]}
        fields |= {"dtype": str(weights[SHARED].dtype).removeprefix("torch."), **marks}
        (target / "config.json").write_text(json.dumps(fields, indent=2, sort_keys=True))
        once = _written_once(weights, tied=config.tie_word_embeddings)
        save_file(once, target / "model.safetensors", metadata={"format": "pt"})
        _write_processor(target, config, tokenizer, recipe)

    write_folder(folder, fill)


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Have a folder filled beside its place, and put it there when it is complete.

    Raises:
        ModelError: The folder holds something, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"out: {folder} is there already, and not empty")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
            target = Path(beside) / "model"
            target.mkdir()
            fill(target)
            if folder.exists():
                folder.rmdir()
            shutil.move(target, folder)
    except OSError as fault:
        raise ModelError(f"out: {folder} cannot be written: {fault}") from fault


def image_token_count(config: Florence2Config, side_px: int) -> int:
    """Return how many tokens an image becomes: one for the whole, one for each cell of the grid."""
    vision: Any = config.vision_config
    side = side_px
    for size, stride, padding in zip(
        vision.patch_size, vision.patch_stride, vision.patch_padding, strict=True
    ):
        side = (side + 2 * padding - size) // stride + 1
    return side * side + 1


def _written_once(weights: Mapping[str, torch.Tensor], *, tied: bool) -> dict[str, torch.Tensor]:
    sides = {f"model.language_model.{side}.embed_tokens.weight" for side in ("encoder", "decoder")}
    left_out = sides | ({HEAD} if tied else set())
    return {name: tensor.contiguous() for name, tensor in weights.items() if name not in left_out}


def _write_processor(
    target: Path, config: Florence2Config, tokenizer: PreTrainedTokenizerBase, recipe: PixelRecipe
) -> None:
    square = {"height": recipe.side_px, "width": recipe.side_px}
    images = CLIPImageProcessorPil(
        size=square,
        crop_size=square,
        do_center_crop=False,
        resample=int(recipe.resample),
        rescale_factor=recipe.rescale_factor,
        image_mean=list(recipe.mean),
        image_std=list(recipe.std),
        image_seq_length=image_token_count(config, recipe.side_px),
    )
    if IMAGE_TOKEN in tokenizer.get_vocab() and getattr(tokenizer, "image_token", None):
        Florence2Processor(
            image_processor=images, tokenizer=tokenizer, post_processor_config=_POST_PROCESSOR
        ).save_pretrained(target)
    else:  # transformers' processor cannot do without the token, Arno can
        tokenizer.save_pretrained(target)
        images.save_pretrained(target)
