"""Name the parts of the older layout as transformers' native classes name them.

The tables work on modules, so that they serve weights (`MODULE.weight`) and LoRA adapters
(`MODULE.lora_A.weight`) alike. A name that is in no table has no translation: nothing is guessed.

Source of the names: the published safetensors files, and transformers'
`convert_florence2_original_pytorch_to_hf.py`.
"""

from __future__ import annotations

import re
from typing import Final

IMAGE_PROJECTION: Final = "image_projection"
"""A bare matrix [in, out] in the older layout, a linear layer's weight [out, in] in the other."""

LOGITS_BIAS: Final = "language_model.final_logits_bias"
"""Always zero in Florence-2, and not there in the native classes."""

_PROJECTOR: Final = "model.multi_modal_projector"
_PARAMETERS: Final = {
    IMAGE_PROJECTION: f"{_PROJECTOR}.image_projection.weight",
    "visual_temporal_embed.pos_idx_to_embed": (
        f"{_PROJECTOR}.visual_temporal_embed.pos_idx_to_embed"
    ),
}
_MODULES: Final = {
    "image_proj_norm": f"{_PROJECTOR}.image_proj_norm",
    "image_pos_embed.row_embeddings": f"{_PROJECTOR}.image_position_embed.row_embeddings",
    "image_pos_embed.column_embeddings": f"{_PROJECTOR}.image_position_embed.column_embeddings",
    "language_model.lm_head": "lm_head",
}
_CONVOLUTION: Final = re.compile(r"vision_tower\.convs\.(\d+)\.(proj|norm)")
_CONVOLUTION_PARTS: Final = {"proj": "conv", "norm": "norm"}
_BLOCK: Final = re.compile(r"vision_tower\.blocks\.(\d+)\.(\d+)\.(spatial|channel)_block\.(.+)")
_BLOCK_PARTS: Final = {
    "conv1.fn.dw": "conv1",
    "conv2.fn.dw": "conv2",
    "ffn.norm": "norm2",
    "ffn.fn.net.fc1": "ffn.fc1",
    "ffn.fn.net.fc2": "ffn.fc2",
}
_ATTENTIONS: Final = {"spatial": "window_attn", "channel": "channel_attn"}
_ATTENTION_PARTS: Final = {
    "norm": "norm1",
    "fn.qkv": "{attention}.qkv",
    "fn.proj": "{attention}.proj",
}
_LANGUAGE: Final = "language_model.model."


def native_name(older: str) -> str | None:
    """Return the native name of a weight of the older layout, None where it has none."""
    if older in _PARAMETERS:
        return _PARAMETERS[older]
    module, _, parameter = older.rpartition(".")
    if parameter not in ("weight", "bias"):
        return None
    translated = native_module(module)
    return None if translated is None else f"{translated}.{parameter}"


def native_module(older: str) -> str | None:
    """Return the native name of a module of the older layout, None where it has none."""
    if older in _MODULES:
        return _MODULES[older]
    if older.startswith(_LANGUAGE):
        # BART's own names, in both; whether it has such a part is seen when names are compared.
        return f"model.language_model.{older.removeprefix(_LANGUAGE)}"
    if found := _CONVOLUTION.fullmatch(older):
        stage, part = found.groups()
        return f"model.vision_tower.convs.{stage}.{_CONVOLUTION_PARTS[part]}"
    if found := _BLOCK.fullmatch(older):
        stage, block, kind, part = found.groups()
        translated = _block_part(kind, part)
        if translated:
            return f"model.vision_tower.blocks.{stage}.{block}.{kind}_block.{translated}"
    return None


def _block_part(kind: str, part: str) -> str | None:
    attention = _ATTENTIONS[kind]
    if part.startswith(f"{attention}."):
        found = _ATTENTION_PARTS.get(part.removeprefix(f"{attention}."))
        return found and found.format(attention=attention)
    return _BLOCK_PARTS.get(part)
