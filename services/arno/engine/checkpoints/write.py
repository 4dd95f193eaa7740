"""Write a checkpoint in the native layout, or convert one to it.

The written folder is one that transformers and Arno both load.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
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
from arno.engine.checkpoints.config import PixelRecipe, read_stored_config
from arno.engine.checkpoints.folders import RANDOM_FIELD, find_model_folders
from arno.engine.checkpoints.load import Checkpoint, load_checkpoint
from arno.engine.checkpoints.stored_weights import read_stored_weights
from arno.engine.checkpoints.tokenizer import IMAGE_TOKEN
from arno.engine.settings import EngineSettings
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
"""Settings of transformers' own parser, which does not work without them. Arno has its own."""


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
        folder: The folder to make; it must be empty if it exists.
        config: The native configuration.
        weights: Tensors by native name; a shared matrix is written once.
        tokenizer: A tokenizer with Florence-2's markers.
        recipe: How to turn images into pixels.
        marks: Arno's own fields for `config.json`.

    Raises:
        ModelError: The folder is not empty, or cannot be written.
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
    """Fill a temporary folder beside the final one, and move it there when it is complete.

    Raises:
        ModelError: The folder is not empty, or cannot be written.
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
    """Return how many tokens an image becomes: one for the whole and one for each grid cell."""
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
    else:  # transformers' processor needs the token, Arno does not
        tokenizer.save_pretrained(target)
        images.save_pretrained(target)


STORED: Final = "stored"
"""Chooses the number format that the weights have in their files."""

_FORMATS: Final = ("float32", "bfloat16", "float16")


def convert_checkpoint(settings: EngineSettings, out: Path, *, dtype: str = STORED) -> Checkpoint:
    """Load a model as a worker does, write it in the native layout, and return it.

    Args:
        settings: The model to convert.
        out: A folder that does not exist yet, or is empty.
        dtype: Number format to write; `stored` keeps that of most weights.

    Raises:
        ModelError: The model cannot be loaded, or the folder cannot be written.
    """
    folders = find_model_folders(
        settings.model, base_model=settings.base_model, download=settings.download
    )
    if dtype == STORED:
        dtype = stored_dtype(folders.base)
    loading = settings.model_copy(update={"device": "cpu", "dtype": dtype})
    checkpoint = load_checkpoint(loading)
    mark = read_stored_config(folders.base).fields.get(RANDOM_FIELD)
    write_checkpoint(
        out,
        checkpoint.network.config,
        checkpoint.network.state_dict(),
        checkpoint.tokenizer.wrapped,
        checkpoint.recipe,
        marks={RANDOM_FIELD: mark} if mark else {},
    )
    return checkpoint


def stored_dtype(folder: Path) -> str:
    """Return the number format of most weights of a folder; float32 if Arno cannot compute in it.

    Raises:
        ModelError: The weights cannot be read.
    """
    counts = Counter(tensor.dtype for tensor in read_stored_weights(folder).values())
    commonest = counts.most_common(1)[0][0]
    return commonest if commonest in _FORMATS else "float32"
