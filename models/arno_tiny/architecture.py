"""The shape of arno-tiny, and the writing of a folder that transformers can load.

A plain Florence-2: DaViT, projector, BART. Small by width, depth and image side; the last stage
keeps its grid, so that 128 px still give 8 x 8 spatial tokens.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    BartConfig,
    CLIPImageProcessorPil,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    Florence2VisionConfig,
    GenerationConfig,
    PreTrainedTokenizerFast,
)

from models.arno_tiny.tokenizer import IMAGE_TOKEN, TOKENS_MAX, build_tokenizer

IMAGE_SIDE_PX = 128
GRID = 8
# One pooled token before the grid's.
IMAGE_TOKENS = GRID * GRID + 1
WIDTH = 160
GRID_WIDTH = 224
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
# The answers that Florence-2's own processor can parse. The patterns are its defaults.
_POST_PROCESSOR = {
    "ocr": {"pattern": r"(.+?)" + r"<loc_(\d+)>" * 8, "area_threshold": 0.0},
    "phrase_grounding": {"banned_grounding_tokens": ["it", "this", "that", "the image"]},
    "pure_text": {},
    "description_with_bboxes": {},
    "description_with_polygons": {},
    "description_with_bboxes_or_polygons": {},
    "polygons": {},
    "bboxes": {},
}


def build_model(tokenizer: PreTrainedTokenizerFast) -> Florence2ForConditionalGeneration:
    """Return the untrained model for the tokenizer's vocabulary."""
    vision = Florence2VisionConfig(
        embed_dim=(96, 128, 160, GRID_WIDTH),
        depths=(1, 1, 2, 1),
        num_heads=(3, 4, 5, 7),
        num_groups=(3, 4, 5, 7),
        patch_size=(11, 3, 3, 3),
        patch_padding=(5, 1, 1, 1),
        patch_stride=(8, 2, 1, 1),
        # Divides the grids of 16 and 8: no window is padded.
        window_size=GRID,
        drop_path_rate=0.0,
        projection_dim=WIDTH,
        max_position_embeddings=2 * GRID,
        max_temporal_embeddings=4,
    )
    text = BartConfig(
        vocab_size=len(tokenizer),
        d_model=WIDTH,
        encoder_layers=3,
        decoder_layers=2,
        encoder_ffn_dim=4 * WIDTH,
        decoder_ffn_dim=4 * WIDTH,
        encoder_attention_heads=5,
        decoder_attention_heads=5,
        max_position_embeddings=TOKENS_MAX,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=None,
    )
    config = Florence2Config(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.get_vocab()[IMAGE_TOKEN],
        bos_token_id=0,  # type: ignore[call-arg]  # taken by the class beneath
        pad_token_id=1,
        eos_token_id=2,
    )
    model = Florence2ForConditionalGeneration(config)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]  # has no types
        decoder_start_token_id=2,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        forced_bos_token_id=0,
        forced_eos_token_id=2,
        num_beams=3,
        no_repeat_ngram_size=3,
        early_stopping=True,
    )
    return model


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Florence2Processor:
    """Return the processor: squeeze to a square, ImageNet statistics, Florence-2's prompts."""
    image_processor = CLIPImageProcessorPil(
        size={"height": IMAGE_SIDE_PX, "width": IMAGE_SIDE_PX},
        crop_size={"height": IMAGE_SIDE_PX, "width": IMAGE_SIDE_PX},
        do_center_crop=False,
        resample=3,
        image_mean=list(_IMAGENET_MEAN),
        image_std=list(_IMAGENET_STD),
        image_seq_length=IMAGE_TOKENS,
    )
    return Florence2Processor(
        image_processor=image_processor, tokenizer=tokenizer, post_processor_config=_POST_PROCESSOR
    )


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """Turn pixels of bytes into the input of the model.

    Shapes: pixels [B, H, W, 3] uint8 -> [B, 3, H, W] float32, as the processor does it.
    """
    mean = torch.tensor(_IMAGENET_MEAN, device=pixels.device).mul(255)
    std = torch.tensor(_IMAGENET_STD, device=pixels.device).mul(255)
    return ((pixels.float() - mean) / std).permute(0, 3, 1, 2).contiguous()


def save(model: Florence2ForConditionalGeneration, folder: Path) -> None:
    """Write a folder that transformers loads by itself; weights as float16."""
    folder.mkdir(parents=True, exist_ok=True)
    halved = build_model(build_tokenizer())
    halved.load_state_dict(model.state_dict())
    halved.half()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    halved.save_pretrained(folder)
    build_processor(build_tokenizer()).save_pretrained(folder)


def load_weights(model: Florence2ForConditionalGeneration, folder: Path) -> None:
    """Give a model the weights that ``save`` wrote.

    Raises:
        ValueError: The weights are those of a network of another shape.
    """
    saved = Florence2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    own, theirs = model.state_dict(), saved.state_dict()
    if {name: one.shape for name, one in own.items()} != {
        name: one.shape for name, one in theirs.items()
    }:
        raise ValueError(f"{folder} holds a network of another shape than arno-tiny has now")
    model.load_state_dict(theirs)
