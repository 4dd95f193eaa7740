"""Turn the configuration of the older layout into that of transformers' native classes."""

from __future__ import annotations

from typing import Any, Final

from arno.engine.checkpoints.layout import StoredConfig
from arno.errors import ModelError

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
"""What the older code took for a field that is not there; saved files leave out what is equal."""

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
"""What the native classes do, always; a checkpoint that wants something else is refused."""

_BEGIN_ID, _PAD_ID, _END_ID = 0, 1, 2


def translate_config(
    stored: StoredConfig, *, vocabulary_rows: int, image_token_id: int
) -> dict[str, Any]:
    """Return the fields of the native configuration.

    Args:
        stored: In the older layout.
        vocabulary_rows: Rows of the embedding matrix, the image token's among them.
        image_token_id: The token that stands for the image in transformers' own processor.

    Raises:
        ModelError: It asks for what the native classes do not do.
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
        ModelError: The field holds no number.
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
