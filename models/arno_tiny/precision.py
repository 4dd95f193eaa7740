"""Half-width matrix products where the processor has them, which makes a step 1.5 times as fast.

Weights, sums, attention and losses stay in float32. Attention does because torch's backward pass of
it in bfloat16 on a CPU takes eight times as long as in float32 (measured: torch 2.15, AVX-512).
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_WIDE_ATTENTION: Final = "arno_float32_sdpa"


def has_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 faster than float32."""
    supported: bool = torch.cpu._is_avx512_bf16_supported()
    return supported


def narrow(enabled: bool) -> torch.autocast:
    """Return a block in which matrix products run in bfloat16, if enabled."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled)


def widen_attention(model: Any) -> None:
    """Let a transformers model compute its attention in float32 inside ``narrow`` blocks."""
    AttentionInterface.register(_WIDE_ATTENTION, _attention)
    AttentionMaskInterface.register(_WIDE_ATTENTION, sdpa_mask)
    model.set_attn_implementation(_WIDE_ATTENTION)


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    if attention_mask is not None and attention_mask.dtype != torch.bool:
        attention_mask = attention_mask.float()
    with torch.autocast("cpu", enabled=False):
        output, _ = sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), attention_mask, **options
        )
    return output.to(query.dtype), None
