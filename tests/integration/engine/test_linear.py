"""Weights laid out once compute what torch computes."""

from __future__ import annotations

import pytest
import torch
from arno.engine.layers.linear import Linear, LinearModule, lay_out
from torch import nn
from transformers.activations import GELUActivation

pytestmark = pytest.mark.model


class FeedForward(nn.Module):
    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.fc1, self.activation_fn, self.fc2 = nn.Linear(8, 32), activation, nn.Linear(32, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.activation_fn(self.fc1(x)))


@pytest.mark.parametrize("rows", [1, 3, 48])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("then_gelu", [False, True])
@torch.inference_mode()
def test_it_is_the_product_and_the_bias(rows, dtype, then_gelu):
    torch.manual_seed(0)
    source = nn.Linear(24, 40, dtype=dtype)
    x = torch.randn(2, rows, 24, dtype=dtype)
    expected = source(x)
    if then_gelu:
        expected = nn.functional.gelu(expected)
    got = Linear(source.weight, source.bias, then_gelu=then_gelu)(x)
    torch.testing.assert_close(got, expected)


@torch.inference_mode()
def test_several_maps_of_one_input_become_one():
    maps = [nn.Linear(8, size) for size in (4, 6, 5)]
    x = torch.randn(3, 8)
    torch.testing.assert_close(Linear.of(*maps)(x), torch.cat([each(x) for each in maps], dim=-1))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("size", "dtype", "transposed"),
    [(24, torch.float32, True), (24, torch.bfloat16, False), (1 << 17, torch.float32, False)],
)
@torch.inference_mode()
def test_few_rows_are_multiplied_by_small_transposed_weights_in_float32(
    bias, size, dtype, transposed
):
    source = nn.Linear(16, size, bias=bias, dtype=dtype)
    found, x = Linear.of(source, then_gelu=True), torch.randn(2, 3, 16, dtype=dtype)
    assert (found._weight.shape == (16, size)) is transposed
    torch.testing.assert_close(found(x), nn.functional.gelu(source(x)))


@pytest.mark.parametrize("activation", [GELUActivation(), nn.GELU("tanh"), nn.ReLU()], ids=str)
@torch.inference_mode()
def test_a_module_laid_out_computes_what_it_computed(activation):
    module = nn.Sequential(FeedForward(activation), nn.LayerNorm(8), FeedForward(activation))
    x = torch.randn(5, 8)
    expected = module(x)
    lay_out(module)
    assert isinstance(module[0].fc1, LinearModule)
    torch.testing.assert_close(module(x), expected)
    lay_out(module)
    torch.testing.assert_close(module(x), expected)
