"""Write checkpoints as the first releases of Florence-2 did: their names, their files, no markers.

The names are listed here once more, from the published files, and not taken from the code under
test.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from support.random_florence import PREPROCESSOR
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BartConfig, Florence2Config, Florence2ForConditionalGeneration

BART_SIZE = 4 + 256 + 1
MARKER_COUNT = 1024
ROWS = BART_SIZE + MARKER_COUNT
PADDED_ROWS = 1344  # with the image's token, the next multiple of 64

_VISION = {
    "model_type": "davit",
    "drop_path_rate": 0.1,
    "patch_size": [7, 3, 3, 3],
    "patch_stride": [4, 2, 2, 2],
    "patch_padding": [3, 1, 1, 1],
    "patch_prenorm": [False, True, True, True],
    "enable_checkpoint": False,
    "depths": [1, 1, 9, 1],
    "window_size": 12,
    "visual_temporal_embedding": {"type": "COSINE", "max_temporal_embeddings": 100},
    "image_pos_embed": {"type": "learned_abs_2d", "max_pos_embeddings": 50},
    "image_feature_source": ["spatial_avg_pool", "temporal_avg_pool"],
}
_TEXT = {
    "model_type": "florence2_language",
    "vocab_size": 51289,
    "activation_function": "gelu",
    "max_position_embeddings": 1024,
    "scale_embedding": False,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "no_repeat_ngram_size": 3,
    "num_beams": 3,
}


def _config(vision: dict[str, object], text: dict[str, object]) -> dict[str, object]:
    return {
        "architectures": ["Florence2ForConditionalGeneration"],
        "auto_map": {
            "AutoModelForCausalLM": "modeling_florence2.Florence2ForConditionalGeneration"
        },
        "model_type": "florence2",
        "is_encoder_decoder": True,
        "vision_config": _VISION | vision,
        "text_config": _TEXT | text,
        "vocab_size": (_TEXT | text)["vocab_size"],
        "projection_dim": vision["projection_dim"],
        "torch_dtype": "float16",
        "transformers_version": "4.41.0.dev0",
    }


def _sizes(width: int, layers: int, heads: int) -> dict[str, object]:
    return {
        "d_model": width,
        "encoder_layers": layers,
        "decoder_layers": layers,
        "encoder_attention_heads": heads,
        "decoder_attention_heads": heads,
        "encoder_ffn_dim": 4 * width,
        "decoder_ffn_dim": 4 * width,
    }


BASE = _config(
    {
        "dim_embed": [128, 256, 512, 1024],
        "num_heads": [4, 8, 16, 32],
        "num_groups": [4, 8, 16, 32],
        "projection_dim": 768,
    },
    _sizes(768, 6, 12),
)
LARGE = _config(
    {
        "dim_embed": [256, 512, 1024, 2048],
        "num_heads": [8, 16, 32, 64],
        "num_groups": [8, 16, 32, 64],
        "projection_dim": 1024,
    },
    _sizes(1024, 12, 16) | {"max_position_embeddings": 4096},
)
SMALL = _config(
    {
        "dim_embed": [8, 16, 16, 32],
        "num_heads": [1, 2, 2, 2],
        "num_groups": [1, 2, 2, 2],
        "depths": [1, 1, 2, 1],
        "window_size": 2,
        "projection_dim": 32,
        "visual_temporal_embedding": {"type": "COSINE", "max_temporal_embeddings": 10},
    },
    _sizes(32, 2, 2) | {"vocab_size": ROWS, "max_position_embeddings": 128},
)


def older_names(config: dict) -> list[str]:
    """Return the names in the published safetensors file of a model of this configuration."""
    vision, text = config["vision_config"], config["text_config"]
    names = [
        "image_projection",
        "image_proj_norm.weight",
        "image_proj_norm.bias",
        "image_pos_embed.row_embeddings.weight",
        "image_pos_embed.column_embeddings.weight",
        "visual_temporal_embed.pos_idx_to_embed",
        "language_model.final_logits_bias",
        "language_model.model.shared.weight",
    ]
    for stage, depth in enumerate(vision["depths"]):
        names += _both(f"vision_tower.convs.{stage}", ("proj", "norm"))
        for block in range(depth):
            for kind, attention in (("spatial", "window_attn"), ("channel", "channel_attn")):
                parts = (
                    *("conv1.fn.dw", "conv2.fn.dw", "ffn.norm", "ffn.fn.net.fc1"),
                    *("ffn.fn.net.fc2", f"{attention}.norm", f"{attention}.fn.qkv"),
                    f"{attention}.fn.proj",
                )
                names += _both(f"vision_tower.blocks.{stage}.{block}.{kind}_block", parts)
    for side, attentions in (
        ("encoder", ("self_attn",)),
        ("decoder", ("self_attn", "encoder_attn")),
    ):
        top = f"language_model.model.{side}"
        names += [f"{top}.embed_positions.weight", *_both(top, ("layernorm_embedding",))]
        for layer in range(text[f"{side}_layers"]):
            parts = ["fc1", "fc2", "final_layer_norm"]
            for attention in attentions:
                parts += [f"{attention}.{part}_proj" for part in ("q", "k", "v", "out")]
                parts.append(f"{attention}_layer_norm")
            names += _both(f"{top}.layers.{layer}", parts)
    return names


def _both(top: str, parts) -> list[str]:
    return [f"{top}.{part}.{kind}" for part in parts for kind in ("weight", "bias")]


def native_twin(config: dict, *, rows: int | None = None) -> Florence2Config:
    """Return the native configuration of the same model, written by hand."""
    vision, text = dict(config["vision_config"]), dict(config["text_config"])
    for name in ("model_type", "image_feature_source", "enable_checkpoint"):
        vision.pop(name)
    vision["embed_dim"] = vision.pop("dim_embed")
    vision["max_position_embeddings"] = vision.pop("image_pos_embed")["max_pos_embeddings"]
    moments = vision.pop("visual_temporal_embedding")["max_temporal_embeddings"]
    vision["max_temporal_embeddings"] = moments
    for name in ("model_type", "num_beams", "no_repeat_ngram_size"):
        text.pop(name)
    text["vocab_size"] = rows or text["vocab_size"]
    return Florence2Config(
        vision_config=vision,
        text_config=BartConfig(dropout=0.0, **text).to_dict(),
        image_token_id=0,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )


def older_of_native(native: str) -> str:
    """Return the older name of a native weight."""
    name = native.removeprefix("model.")
    if name == "multi_modal_projector.image_projection.weight":
        return "image_projection"
    if name == "lm_head.weight":
        return "language_model.lm_head.weight"
    name = name.replace("multi_modal_projector.", "")
    name = name.replace("image_position_embed.", "image_pos_embed.")
    if name.startswith("language_model."):
        return name.replace("language_model.", "language_model.model.", 1)
    if name.startswith("vision_tower.convs."):
        return name.replace(".conv.", ".proj.")
    attention = "window_attn" if ".spatial_block." in name else "channel_attn"
    for new, old in (
        (".conv1.", ".conv1.fn.dw."),
        (".conv2.", ".conv2.fn.dw."),
        (".norm1.", f".{attention}.norm."),
        (".norm2.", ".ffn.norm."),
        (".ffn.fc", ".ffn.fn.net.fc"),
        (f".{attention}.qkv", f".{attention}.fn.qkv"),
        (f".{attention}.proj", f".{attention}.fn.proj"),
    ):
        name = name.replace(new, old)
    return name


def older_weights(network: Florence2ForConditionalGeneration) -> dict[str, torch.Tensor]:
    """Return a network's weights as the older layout stores them, each once."""
    tied = {"lm_head.weight"} | {
        f"model.language_model.{side}.embed_tokens.weight" for side in ("encoder", "decoder")
    }
    rows = network.config.text_config.vocab_size
    found = {"language_model.final_logits_bias": torch.zeros(1, rows)}
    for name, weight in network.state_dict().items():
        if name not in tied:
            turned = weight.t() if "image_projection" in name else weight
            found[older_of_native(name)] = turned.clone().contiguous()
    return found


def build_older_florence(folder: Path, network: Florence2ForConditionalGeneration) -> Path:
    """Write a checkpoint with the network's weights and the files of the first releases."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(copy.deepcopy(SMALL)))
    (folder / "preprocessor_config.json").write_text(
        json.dumps(PREPROCESSOR | {"do_convert_rgb": None, "processor_class": "Florence2Processor"})
    )
    (folder / "processing_florence2.py").write_text("raise SystemExit('code of a checkpoint ran')")
    bart_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 128}))
    save_file(older_weights(network), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def bart_tokenizer() -> Tokenizer:
    """Return a tokenizer shaped like BART's: no marker in it."""
    names = ["<s>", "<pad>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    names.append("<mask>")
    tokenizer = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return tokenizer
