"""Read what the JSON files of a checkpoint say, in either layout: its configuration and its images.

The older layout is translated into the configuration of transformers' native classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from PIL import Image
from transformers import Florence2Config

from arno.engine.checkpoints.folders import CONFIG_FILE, read_json
from arno.errors import ModelError

_MODEL_TYPE: Final = "florence2"


class Layout(StrEnum):
    """How a checkpoint names its fields and weights."""

    NATIVE = "native"
    OLDER = "older"


@dataclass(frozen=True, slots=True)
class StoredConfig:
    """A checkpoint's `config.json`.

    Attributes:
        path: The file.
        layout: The layout of its fields. The weights may be named in the other layout.
        fields: The JSON object.
    """

    path: Path
    layout: Layout
    fields: dict[str, Any]


def read_stored_config(folder: Path) -> StoredConfig:
    """Read a checkpoint's configuration and find out its layout.

    Raises:
        ModelError: It is missing, unreadable, or not that of a Florence-2.
    """
    path = folder / CONFIG_FILE
    fields = read_json(path)
    if fields.get("model_type") != _MODEL_TYPE:
        raise ModelError(
            f"model: {path}: model_type is {fields.get('model_type')!r}, not {_MODEL_TYPE!r}"
        )
    vision = fields.get("vision_config")
    if not isinstance(vision, dict) or not isinstance(fields.get("text_config"), dict):
        raise ModelError(f"model: {path} lacks vision_config or text_config")
    # A fine-tune of the older layout may lack `auto_map`, but always has this field.
    older = "dim_embed" in vision or ("auto_map" in fields and "embed_dim" not in vision)
    return StoredConfig(path, Layout.OLDER if older else Layout.NATIVE, fields)


_ROW_MULTIPLE: Final = 64
"""GPUs are fastest on matrices whose number of rows is a multiple of this."""


def build_config(stored: StoredConfig, *, image_token_id: int) -> Florence2Config:
    """Return transformers' configuration of a checkpoint.

    Args:
        stored: The checkpoint's own configuration, in either layout.
        image_token_id: The id of the image's token; used for the older layout alone, which has no
            such token.

    Raises:
        ModelError: A field is missing or has a value that Florence-2 does not allow.
    """
    fields: dict[str, Any] = stored.fields
    if stored.layout is Layout.OLDER:
        rows = max(stored_vocabulary_size(stored), image_token_id + 1)
        rows += -rows % _ROW_MULTIPLE
        fields = translate_config(stored, vocabulary_rows=rows, image_token_id=image_token_id)
    try:
        config: Florence2Config = Florence2Config.from_dict(fields)
    except Exception as fault:  # its checks raise various classes
        raise ModelError(f"model: {stored.path}: {_on_one_line(fault)}") from fault
    for name in ("vocab_size", "d_model", "max_position_embeddings"):
        if not getattr(config.text_config, name, None):
            raise ModelError(f"model: {stored.path}: text_config.{name} is missing")
    # The engine chooses the number format; the one in the file is ignored.
    config.dtype = None
    return config


def _on_one_line(fault: Exception) -> str:
    return " ".join(str(fault).split())


_VISION_DEFAULTS: Final[dict[str, Any]] = {
    "drop_path_rate": 0.1,
    "patch_size": [7, 3, 3, 3],
    "patch_stride": [4, 2, 2, 2],
    "patch_padding": [3, 1, 1, 1],
    "patch_prenorm": [False, True, True, True],
    "dim_embed": [256, 512, 1024, 2048],
    "num_heads": [8, 16, 32, 64],
    "num_groups": [8, 16, 32, 64],
    "depths": [1, 1, 9, 1],
    "window_size": 12,
    "projection_dim": 1024,
}
_TEXT_DEFAULTS: Final[dict[str, Any]] = {
    "vocab_size": 51289,
    "max_position_embeddings": 1024,
    "d_model": 1024,
    "encoder_layers": 12,
    "encoder_ffn_dim": 4096,
    "encoder_attention_heads": 16,
    "decoder_layers": 12,
    "decoder_ffn_dim": 4096,
    "decoder_attention_heads": 16,
    "activation_function": "gelu",
    "dropout": 0.1,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
    "init_std": 0.02,
    "scale_embedding": False,
}
"""Defaults of the older code. Saved files leave out the fields that are equal to these."""

_RENAMED: Final = {"dim_embed": "embed_dim"}
_ONLY: Final[dict[str, tuple[object, ...]]] = {
    "model_type": ("davit", "florence2_vision", "", None),
    "image_feature_source": (["spatial_avg_pool", "temporal_avg_pool"],),
    "image_pos_embed.type": ("learned_abs_2d",),
    "visual_temporal_embedding.type": ("COSINE",),
    "mlp_ratio": (4, 4.0, None),
    "qkv_bias": (True, None),
    "conv_at_attn": (True, None),
    "conv_at_ffn": (True, None),
}
"""Values that the native classes always assume; a checkpoint with other ones is refused."""

_BEGIN_ID, _PAD_ID, _END_ID = 0, 1, 2


def translate_config(
    stored: StoredConfig, *, vocabulary_rows: int, image_token_id: int
) -> dict[str, Any]:
    """Return the fields of the native configuration.

    Args:
        stored: A configuration in the older layout.
        vocabulary_rows: Rows of the embedding matrix, the image token's among them.
        image_token_id: The token that stands for the image in transformers' own processor.

    Raises:
        ModelError: It asks for something that the native classes do not support.
    """
    text = stored.fields["text_config"]
    kept = {name: text.get(name, default) for name, default in _TEXT_DEFAULTS.items()}
    return {
        "architectures": ["Florence2ForConditionalGeneration"],
        "model_type": "florence2",
        "vision_config": _vision(stored),
        "text_config": {
            **kept,
            "model_type": "bart",
            "vocab_size": vocabulary_rows,
            "bos_token_id": _BEGIN_ID,
            "pad_token_id": _PAD_ID,
            "eos_token_id": _END_ID,
            "decoder_start_token_id": _END_ID,
            "forced_eos_token_id": None,
        },
        "image_token_id": image_token_id,
        "bos_token_id": _BEGIN_ID,
        "pad_token_id": _PAD_ID,
        "eos_token_id": _END_ID,
        "tie_word_embeddings": _is_tied(stored.fields),
    }


def stored_vocabulary_size(stored: StoredConfig) -> int:
    """Return how many rows the embedding matrix has in the file.

    Raises:
        ModelError: The field is not a number above 0.
    """
    size = stored.fields["text_config"].get("vocab_size", _TEXT_DEFAULTS["vocab_size"])
    if not isinstance(size, int) or size < 1:
        raise ModelError(f"model: {stored.path}: text_config.vocab_size is {size!r}, not a number")
    return size


def _vision(stored: StoredConfig) -> dict[str, Any]:
    vision = stored.fields["vision_config"]
    for name, allowed in _ONLY.items():
        found = _at(vision, name)
        if found not in allowed:
            raise ModelError(
                f"model: {stored.path}: vision_config.{name} is {found!r}; Florence-2 has "
                f"{allowed[0]!r}"
            )
    fields = {
        _RENAMED.get(name, name): vision.get(name, default)
        for name, default in _VISION_DEFAULTS.items()
    }
    return {
        **fields,
        "model_type": "florence_vision",
        "max_position_embeddings": _at(vision, "image_pos_embed.max_pos_embeddings"),
        "max_temporal_embeddings": _at(vision, "visual_temporal_embedding.max_temporal_embeddings"),
    }


def _is_tied(fields: dict[str, Any]) -> bool:
    text = fields["text_config"]
    return bool(fields.get("tie_word_embeddings", True) and text.get("tie_word_embeddings", True))


def _at(fields: dict[str, Any], dotted: str) -> Any:
    found: Any = fields
    for name in dotted.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


@dataclass(frozen=True, slots=True)
class PixelRecipe:
    """How to turn a picture into the pixels that the vision encoder takes.

    Attributes:
        side_px: Both sides of the square that pictures are resized to; aspect is not kept.
        mean: Subtracted from each channel.
        std: Each channel is divided by it.
        rescale_factor: Maps 0..255 into the range of mean and std.
        resample: Pillow's filter.
    """

    side_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    rescale_factor: float
    resample: Image.Resampling


def read_recipe(folder: Path) -> PixelRecipe:
    """Read the pixel recipe of a checkpoint.

    Raises:
        ModelError: There is none, or it asks for a step that Florence-2 does not have.
    """
    config = _read_image_processor(folder)
    size = config.get("size")
    if not isinstance(size, dict) or not size.get("height") or size["height"] != size.get("width"):
        raise ModelError(f"model: {folder} asks for images of size {size}, not for a square")
    if config.get("do_center_crop"):
        raise ModelError(f"model: {folder} asks for cropped images, Florence-2 sees whole ones")
    for step in ("do_resize", "do_rescale", "do_normalize"):
        if not config.get(step, True):
            raise ModelError(
                f"model: {folder} leaves out {step}, without which Florence-2 sees nothing"
            )
    try:
        return PixelRecipe(
            side_px=int(size["height"]),
            mean=_channels(config["image_mean"]),
            std=_channels(config["image_std"]),
            rescale_factor=float(config.get("rescale_factor", 1 / 255)),
            resample=Image.Resampling(config.get("resample", Image.Resampling.BICUBIC)),
        )
    except (KeyError, TypeError, ValueError) as fault:
        raise ModelError(
            f"model: the image processor of {folder} lacks a field, or has a bad one: {fault!r}"
        ) from fault


def _read_image_processor(folder: Path) -> dict[str, Any]:
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if path.is_file():
            config = read_json(path)
            found = config.get("image_processor", config)
            if isinstance(found, dict) and "image_mean" in found:
                return found
    raise ModelError(f"model: {folder} does not say how images are prepared")


def _channels(values: list[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)
