"""Make checkpoints of Florence-2's real shapes with random weights, and find the bundled one.

Random weights never end an answer by themselves here: the end's logit is pressed down by the
weights (the last layer norm's bias points away from the end's embedding), which every engine under
test reads alike. How long an answer is, is then its limit alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BartConfig,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2VisionConfig,
    PreTrainedTokenizerFast,
)

END_ID: Final = 2
VOCABULARY: Final = 51_289
"""Of the published checkpoints."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A size of Florence-2.

    Attributes:
        image_px: Side of the square that the vision encoder sees.
        embed_dim, depths, heads: Of DaViT's four stages.
        width, layers, text_heads: Of the text encoder and of the decoder.
        positions: Most tokens of each.
        vocabulary: Rows of the embedding.
    """

    image_px: int
    embed_dim: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    width: int
    layers: int
    text_heads: int
    positions: int = 1024
    vocabulary: int = VOCABULARY


SHAPES: Final = {
    "base": Shape(768, (128, 256, 512, 1024), (1, 1, 9, 1), (4, 8, 16, 32), 768, 6, 12),
    "large": Shape(768, (256, 512, 1024, 2048), (1, 1, 9, 1), (8, 16, 32, 64), 1024, 12, 16),
    "dry": Shape(64, (8, 16, 16, 32), (1, 1, 1, 1), (1, 2, 2, 2), 32, 2, 2, 256, 1300),
}
"""The published sizes; `dry` has every part and no weight, for trying scripts out."""


def find_model(name: str, cache: Path) -> Path:
    """Return the folder of ``tiny``, of a shape's random weights (made if need be), or a folder."""
    if name == "tiny":
        from arno.engine.checkpoints.folders import find_model_folders

        return find_model_folders("tiny").base
    if name in SHAPES:
        folder = cache / f"random-{name}"
        return folder if (folder / "config.json").is_file() else build(SHAPES[name], folder)
    return Path(name)


def build(shape: Shape, folder: Path, *, seed: int = 7) -> Path:
    """Write a checkpoint with random weights into a folder and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(_preprocessor(shape)))
    torch.manual_seed(seed)
    config = _config(shape, tokenizer.get_vocab()["<image>"])
    network: Any = Florence2ForConditionalGeneration(config)
    _enliven(network)
    network.eval().save_pretrained(folder)
    return folder


@torch.no_grad()
def _enliven(network: Any) -> None:
    """Make answers differ by image and prompt, and never end; fresh weights do neither."""
    for name, weight in network.named_parameters():
        if weight.dim() > 1 and "language_model" in name:
            weight.mul_(6.0 if "encoder_attn" in name else 3.0)
    away = torch.nn.functional.normalize(torch.randn(network.lm_head.weight.shape[1]), dim=0)
    network.lm_head.weight[END_ID] = -away
    last = network.model.language_model.decoder.layers[-1].final_layer_norm
    last.bias.copy_(away * 30.0)
    rest = torch.arange(network.lm_head.weight.shape[0]) != END_ID
    rows = network.lm_head.weight[rest]
    network.lm_head.weight[rest] = rows - (rows @ away)[:, None] * away


def _tokenizer() -> PreTrainedTokenizerFast:
    names = ["<s>", "<pad>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    core = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    markers = ["<image>", "<sep>", "<poly>", "</poly>", "<and>"]
    added = [*(f"<loc_{i}>" for i in range(1000)), *markers]
    core.add_special_tokens([AddedToken(name, special=True) for name in names[:3]])
    core.add_tokens([AddedToken(name, special=True, normalized=False) for name in added])
    loader: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerFast = loader(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    return tokenizer


def _preprocessor(shape: Shape) -> dict[str, object]:
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"height": shape.image_px, "width": shape.image_px},
        "resample": 3,
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "do_convert_rgb": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }


def _config(shape: Shape, image_token_id: int) -> Florence2Config:
    text = BartConfig(
        vocab_size=shape.vocabulary,
        d_model=shape.width,
        encoder_layers=shape.layers,
        decoder_layers=shape.layers,
        encoder_attention_heads=shape.text_heads,
        decoder_attention_heads=shape.text_heads,
        encoder_ffn_dim=4 * shape.width,
        decoder_ffn_dim=4 * shape.width,
        max_position_embeddings=shape.positions,
        dropout=0.0,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=END_ID,
        decoder_start_token_id=END_ID,
    )
    vision = Florence2VisionConfig(
        depths=shape.depths,
        embed_dim=shape.embed_dim,
        num_heads=shape.heads,
        num_groups=shape.heads,
        window_size=2 if shape.image_px < 256 else 12,
        projection_dim=shape.width,
        drop_path_rate=0.0,
    )
    made: Any = Florence2Config  # further fields are kept as they are
    config: Florence2Config = made(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        image_token_id=image_token_id,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=END_ID,
        arno_random_weights="benchmarks, seed 7",
    )
    return config
