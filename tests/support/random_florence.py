"""Build a tiny native Florence-2 with random weights: every code path, no training."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BartConfig,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2VisionConfig,
    PreTrainedTokenizerFast,
)

IMAGE_SIDE_PX = 64
POSITION_COUNT = 128

END_BOOST = 3.0
"""How much further from the other tokens the end stands, so that it is likeliest now and then."""

PREPROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "do_resize": True,
    "size": {"height": IMAGE_SIDE_PX, "width": IMAGE_SIDE_PX},
    "resample": 3,
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "do_convert_rgb": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "image_seq_length": 5,
}


def build_random_florence(
    folder: Path, *, seed: int = 7, locations: int = 1000, stages: int = 4
) -> Path:
    """Write a checkpoint into a folder and return the folder.

    Args:
        folder: The folder.
        seed: Seed of the weights.
        locations: Number of the tokens of places.
        stages: Stages of the vision encoder; published models have 4.
    """
    tokenizer = _tokenizer(locations)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    network = Florence2ForConditionalGeneration(_config(len(tokenizer), stages))
    enliven(network)
    network.eval().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return folder


def enliven(network: Florence2ForConditionalGeneration) -> None:
    """Make answers differ by image and prompt, and end now and then; fresh weights do neither."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "encoder_attn" in name and weight.dim() > 1:
                weight.mul_(40.0)  # the decoder looks hard at what was encoded
            elif weight.dim() > 1 and "language_model" in name:
                weight.mul_(6.0)
            elif weight.dim() > 1:
                weight.mul_(3.0)
        network.lm_head.weight[2].mul_(END_BOOST)


def _tokenizer(locations: int) -> PreTrainedTokenizerFast:
    names = ["<s>", "<pad>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    core = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    markers = ["<image>", "<sep>", "<poly>", "</poly>", "<and>"]
    added = [*(f"<loc_{i}>" for i in range(locations)), *markers]
    core.add_special_tokens([AddedToken(name, special=True) for name in ["<s>", "<pad>", "</s>"]])
    core.add_tokens([AddedToken(name, special=True, normalized=False) for name in added])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )


def _config(vocab_size: int, stages: int) -> Florence2Config:
    text = BartConfig(
        vocab_size=vocab_size,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=POSITION_COUNT,
        dropout=0.0,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
    )
    by_stage = {
        "patch_size": (7, 3, 3, 3),
        "patch_stride": (4, 2, 2, 2),
        "patch_padding": (3, 1, 1, 1),
        "patch_prenorm": (False, True, True, True),
        "depths": (1, 1, 1, 1),
        "embed_dim": (8, 16, 16, 32),
        "num_heads": (1, 2, 2, 2),
        "num_groups": (1, 2, 2, 2),
    }
    vision = Florence2VisionConfig(
        **{name: values[:stages] for name, values in by_stage.items()},
        window_size=2,
        projection_dim=32,
        drop_path_rate=0.0,
    )
    return Florence2Config(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        image_token_id=4 + 256 + 1000,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
