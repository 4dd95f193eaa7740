"""Prompts of any lengths, packed for a CPU, are encoded to what transformers' encoder gives."""

from __future__ import annotations

import pytest
import torch
from arno.engine import EngineSettings
from arno.engine.checkpoints import load_checkpoint
from arno.engine.encoding.prompt_encoding import PackedEncoder, encode_prompts, pack_encoder

pytestmark = pytest.mark.model

VISION = 7
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.05}
"""Of states that have a variance of 1."""


def load(folder, dtype="float32"):
    settings = EngineSettings(model=str(folder), device="cpu", dtype=dtype)
    return load_checkpoint(settings).network


def encode(network, prompts):
    generator = torch.Generator().manual_seed(1)
    width = network.config.text_config.d_model
    images = torch.randn(len(prompts), VISION, width, generator=generator).to(network.dtype)
    return encode_prompts(network, list(images), prompts)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("lengths", [(3,), (2, 2, 2), (5, 1, 9)])
def test_packed_prompts_are_encoded_as_padded_ones_are(model_folder, lengths, dtype):
    network = load(model_folder, dtype)
    prompts = [[4 + place for place in range(length)] for length in lengths]
    padded = encode(network, prompts)
    pack_encoder(network)
    packed = encode(network, prompts)
    assert isinstance(network.get_encoder(), PackedEncoder)
    for got, expected, length in zip(packed.states, padded.states, lengths, strict=True):
        real = slice(VISION + length)
        torch.testing.assert_close(got[real], expected[real], rtol=0, atol=TOLERANCE[dtype])
    assert (packed.padding is None) is (padded.padding is None) is (len(set(lengths)) == 1)
    if packed.padding is not None:
        assert torch.equal(packed.padding, padded.padding)


def test_a_model_is_packed_once_and_in_float16_not_at_all(model_folder):
    network = load(model_folder)
    pack_encoder(network)
    encoder = network.get_encoder()
    pack_encoder(network)
    assert network.get_encoder() is encoder
    half = load(model_folder, "float16")
    pack_encoder(half)
    assert not isinstance(half.get_encoder(), PackedEncoder)
