"""The one objective: cross-entropy on the tokens of the answer."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from arno.engine.checkpoints.tokenizer import END_ID, PAD_ID
from arno.training.trainer.batches import IGNORED, Batch


def answer_loss(network: nn.Module, batch: Batch) -> torch.Tensor:
    """Return the sum of the cross-entropy over the answers' tokens, in float32.

    Args:
        network: A `Florence2ForConditionalGeneration`, wrapped or not.
        batch: On the network's device.
    """
    shifted = torch.full_like(batch.answers, END_ID)  # what the decoder starts with
    shifted[:, 1:] = batch.answers[:, :-1]
    shifted[shifted == IGNORED] = PAD_ID
    # Padding stands behind the answer, where a causal decoder cannot see it: no mask is needed.
    output: Any = network(
        input_ids=batch.prompts,
        attention_mask=batch.seen,
        pixel_values=batch.pixels,
        decoder_input_ids=shifted,
        use_cache=False,
    )
    return functional.cross_entropy(
        output.logits.float().flatten(0, 1),
        batch.answers.flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )
