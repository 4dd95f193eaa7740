"""Write checkpoints of Florence-2's real shapes with random weights, for load tests and benchmarks.

Their answers mean nothing, so they are marked everywhere: a field of `config.json`, the
fingerprint and the name in every result, and the self-test, which refuses them unless the operator
allows untrained models.

The tokenizer has the size and shape of Florence-2's, without its table: the real one is BART's
byte-level BPE of 50,265 tokens, learned from a corpus that is not here. This one has as many tokens
in the same places: the specials 0 to 3, `<mask>` at 50264, the markers from 50265, the image's
token at 51289. In between are merges made here: those that make each word of Florence-2's prompts
one token, as it nearly always is in BART, and then pairs and triples of letters. So prompts are
about as long as real ones, and ids of words mean something else.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import Florence2Config, Florence2ForConditionalGeneration

from arno.engine.checkpoints.config import PixelRecipe
from arno.engine.checkpoints.folders import RANDOM_FIELD
from arno.engine.checkpoints.load import empty_network
from arno.engine.checkpoints.tokenizer import (
    BART_SIZE,
    IMAGE_TOKEN,
    MARKERS,
    add_image_token,
    add_markers,
    finish_byte_level,
    wrap_tokenizer,
)
from arno.engine.checkpoints.write import write_checkpoint
from arno.vocabulary import CATALOGUE

_MEAN: Final = (0.485, 0.456, 0.406)
_STD: Final = (0.229, 0.224, 0.225)
IMAGE_TOKEN_ID: Final = BART_SIZE + len(MARKERS)
_ROWS: Final = 51328
"""Rows of the published native checkpoints: 51,290 tokens, rounded up to a multiple of 64."""


@dataclass(frozen=True, slots=True)
class RandomShape:
    """Sizes of a model.

    Attributes:
        image_side_px: Side of the image.
        embed_dim: Widths of the four stages of the image encoder; a head is as wide as the first
            stage divided by `heads`.
        heads: Heads, and groups of channels, of the first stage; each further stage doubles them.
        depths: Blocks of each stage.
        window: Side of the attention windows.
        width: Width of the text encoder and of the decoder.
        layers: Layers of each of the two.
        text_heads: Heads of each of the two.
        position_count: Longest prompt and answer, in tokens.
    """

    image_side_px: int
    embed_dim: tuple[int, int, int, int]
    heads: int
    depths: tuple[int, int, int, int]
    window: int
    width: int
    layers: int
    text_heads: int
    position_count: int


SHAPES: Final = {
    "tiny": RandomShape(
        image_side_px=64,
        embed_dim=(16, 32, 64, 128),
        heads=1,
        depths=(1, 1, 1, 1),
        window=4,
        width=64,
        layers=2,
        text_heads=4,
        position_count=256,
    ),
    "base": RandomShape(
        image_side_px=768,
        embed_dim=(128, 256, 512, 1024),
        heads=4,
        depths=(1, 1, 9, 1),
        window=12,
        width=768,
        layers=6,
        text_heads=12,
        position_count=1024,
    ),
    "large": RandomShape(
        image_side_px=768,
        embed_dim=(256, 512, 1024, 2048),
        heads=8,
        depths=(1, 1, 9, 1),
        window=12,
        width=1024,
        layers=12,
        text_heads=16,
        position_count=1024,
    ),
}


def write_random_model(folder: Path, size: str, *, seed: int, dtype: torch.dtype) -> None:
    """Write a checkpoint; equal size, seed and format give equal files on one kind of machine.

    Raises:
        ModelError: The folder is not empty, or cannot be written.
    """
    shape = SHAPES[size]
    config = random_config(shape)
    tokenizer = wrap_tokenizer(build_tokenizer())
    assert tokenizer.get_vocab()[IMAGE_TOKEN] == IMAGE_TOKEN_ID  # noqa: S101 - a defect of this file
    network = empty_network(config)
    recipe = PixelRecipe(shape.image_side_px, _MEAN, _STD, 1 / 255, Image.Resampling.BICUBIC)
    generator = torch.Generator().manual_seed(seed)
    weights = {name: tensor.to(dtype) for name, tensor in _draw(network, generator)}
    marks = {RANDOM_FIELD: {"size": size, "seed": seed}}
    write_checkpoint(folder, config, weights, tokenizer, recipe, marks=marks)


def random_config(shape: RandomShape) -> Florence2Config:
    """Return the native configuration of a shape."""
    heads = tuple(shape.heads << stage for stage in range(len(shape.depths)))
    sides = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (
            ("layers", shape.layers),
            ("attention_heads", shape.text_heads),
            ("ffn_dim", 4 * shape.width),
        )
    }
    config: Florence2Config = Florence2Config.from_dict(
        {
            "vision_config": {
                "model_type": "florence_vision",
                "embed_dim": shape.embed_dim,
                "num_heads": heads,
                "num_groups": heads,
                "depths": shape.depths,
                "window_size": shape.window,
                "projection_dim": shape.width,
            },
            "text_config": {
                "model_type": "bart",
                "vocab_size": _ROWS,
                "d_model": shape.width,
                "max_position_embeddings": shape.position_count,
                "forced_eos_token_id": None,
                **sides,
            },
            "image_token_id": IMAGE_TOKEN_ID,
            "bos_token_id": 0,
            "pad_token_id": 1,
            "eos_token_id": 2,
        }
    )
    return config


def _draw(
    network: Florence2ForConditionalGeneration, generator: torch.Generator
) -> Iterator[tuple[str, torch.Tensor]]:
    """Draw weights that keep the scale of activations, so that inputs matter."""
    tied: Any = network.all_tied_weights_keys
    for name, empty in network.state_dict().items():
        if name in tied:
            continue
        if name.endswith("pos_idx_to_embed"):
            yield name, _sines(network)
        elif name.endswith("bias"):
            yield name, torch.zeros(empty.shape)
        elif empty.dim() == 1:  # of a normalisation
            yield name, torch.ones(empty.shape)
        else:
            inputs = empty[0].numel()
            yield name, torch.randn(empty.shape, generator=generator) * inputs**-0.5


def _sines(network: Florence2ForConditionalGeneration) -> torch.Tensor:
    table: Any = network.model.multi_modal_projector.visual_temporal_embed
    sine, cosine = table.get_sinusoid_embeddings(table.max_seq_len, table.embed_dim)
    return torch.stack([sine, cosine], dim=-1).flatten(1)  # [positions, width], in turns


_SPECIALS: Final = ("<s>", "<pad>", "</s>", "<unk>")
_SPACE: Final = "\u0120"
"""The character that byte-level BPE uses for a space."""


def build_tokenizer() -> Tokenizer:
    """Return a tokenizer with all markers: 51,290 tokens, always the same."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    known = [*_SPECIALS, *alphabet]
    merges: list[tuple[str, str]] = []
    seen = set(known)
    for left, right in _merges():
        if len(known) == BART_SIZE - 1:
            break
        if left + right not in seen:
            seen.add(left + right)
            known.append(left + right)
            merges.append((left, right))
    known.append("<mask>")
    vocabulary = {name: token_id for token_id, name in enumerate(known)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))  # noqa: S106
    finish_byte_level(tokenizer)
    add_markers(tokenizer)
    add_image_token(tokenizer)
    return tokenizer


def _merges() -> Iterator[tuple[str, str]]:
    for word in _words():
        for end in range(1, len(word)):
            yield word[:end], word[end]
    pieces = string.ascii_lowercase
    starts = [_SPACE, *string.ascii_uppercase, *string.ascii_lowercase]
    yield from itertools.product(starts, pieces)
    pairs = ["".join(pair) for pair in itertools.product(starts, pieces)]
    yield from itertools.product(pairs, pieces)
    # There are more of these than the size needs.
    for pair, letter in itertools.product(itertools.product(pieces, pieces), pieces):
        yield _SPACE + "".join(pair), letter


def _words() -> list[str]:
    """Return the words of prompts, those after a space first, so that each becomes one token."""
    words = {
        (_SPACE if index else "") + word.rstrip("?,.:")
        for definition in CATALOGUE.values()
        for index, word in enumerate(definition.prompt.replace("{input}", "").split())
    }
    return sorted(words, key=lambda word: (not word.startswith(_SPACE), word))
