"""Auxiliary heads and losses, without which training stays on the plateau of the plain loss.

Nothing of this is in the saved model.

1. Dense heads predict class, colour and box of the object in each cell near its centre: one reads
   DaViT's grid, for all objects of the scene; the other reads the text encoder's image tokens, for
   the objects that the question is about, with their place in the answer. A third head reads two
   letters a cell.
2. Location targets are softened over neighbouring bins; the distance to them is a loss as well.
3. Positions and locations start from sine-cosine values, so that near places start near.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from arno.training.trainer.batches import IGNORED
from arno.vocabulary import BIN_COUNT
from torch import nn
from torch.nn import functional
from transformers import Florence2ForConditionalGeneration

from models.arno_tiny.architecture import GRID
from models.arno_tiny.scene_batches import (
    CLASS_COUNT,
    COLOUR_COUNT,
    ITEMS_MAX,
    LETTER_COUNT,
    Items,
)

_EMPTY_WEIGHT = 0.15
_BOX_WEIGHT = 5.0
_COLOUR_WEIGHT = 0.5
_POINTING_WEIGHT = 5.0
_CELL = 1 / GRID


@dataclass(frozen=True, slots=True)
class CellTargets:
    """What the heads are to predict for each cell.

    Shapes: classes, colours, ranks [B, cells] int64, 0 for empty; boxes [B, cells, 4]; centres
    [cells, 4] (x, y, x, y).
    """

    classes: torch.Tensor
    colours: torch.Tensor
    ranks: torch.Tensor
    boxes: torch.Tensor
    centres: torch.Tensor


def cell_targets(items: Items) -> CellTargets:
    """Assign each item the cells in the middle half of its box, at least the one at its centre."""
    boxes, classes = items.boxes, items.classes
    axis = (torch.arange(GRID, device=boxes.device) + 0.5) * _CELL
    x, y = axis.repeat(GRID), axis.repeat_interleave(GRID)  # [cells], row by row
    middle_x = (boxes[..., 0] + boxes[..., 2]) / 2
    middle_y = (boxes[..., 1] + boxes[..., 3]) / 2
    reach_x = ((boxes[..., 2] - boxes[..., 0]) / 4).clamp(min=_CELL / 2)
    reach_y = ((boxes[..., 3] - boxes[..., 1]) / 4).clamp(min=_CELL / 2)
    away_x = (x - middle_x[..., None]).abs() / reach_x[..., None]  # [B, N, cells]
    away_y = (y - middle_y[..., None]).abs() / reach_y[..., None]
    away = torch.maximum(away_x, away_y).masked_fill(classes[..., None] == 0, math.inf)
    nearest, owner = away.min(dim=1)  # [B, cells]
    taken = nearest <= 1
    return CellTargets(
        classes=classes.gather(1, owner) * taken,
        colours=items.colours.gather(1, owner) * taken,
        ranks=(owner + 1) * taken,
        boxes=boxes.gather(1, owner[..., None].expand(-1, -1, 4)),
        centres=torch.stack([x, y, x, y], dim=-1),
    )


class DenseHead(nn.Module):
    """Predicts class, colour, box (from the cell's centre) and place in the answer of each cell."""

    def __init__(self, width: int) -> None:
        """Make the head for cells of ``width`` features."""
        super().__init__()
        self._splits = [CLASS_COUNT, COLOUR_COUNT, 4, ITEMS_MAX + 1]
        self.norm = nn.LayerNorm(width)
        self.read = nn.Linear(width, sum(self._splits))

    def forward(self, cells: torch.Tensor, targets: CellTargets, *, ordered: bool) -> torch.Tensor:
        """Return the loss over ``cells`` [B, cells, width]."""
        classes, colours, offsets, ranks = self.read(self.norm(cells)).split(self._splits, dim=-1)
        loss: torch.Tensor = _cell_entropy(classes, targets.classes)
        loss = loss + _COLOUR_WEIGHT * _cell_entropy(colours, targets.colours)
        taken = targets.classes > 0
        error = (offsets + targets.centres - targets.boxes).abs().mean(dim=-1)
        loss = loss + _BOX_WEIGHT * (error * taken).sum() / taken.sum().clamp(min=1)
        if ordered:
            loss = loss + _cell_entropy(ranks, targets.ranks)
        return loss


class LetterHead(nn.Module):
    """Predicts the letter in the left and in the right half of each cell."""

    def __init__(self, width: int) -> None:
        """Make the head for cells of ``width`` features."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.read = nn.Linear(width, 2 * LETTER_COUNT)

    def forward(self, cells: torch.Tensor, letters: torch.Tensor) -> torch.Tensor:
        """Return the loss over ``cells`` [B, cells, width]; letters [B, 2 x cells]."""
        said = self.read(self.norm(cells)).unflatten(-1, (2, LETTER_COUNT)).flatten(1, 2)
        return _cell_entropy(said, letters)


def _cell_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    weight = torch.ones(logits.shape[-1], device=logits.device)
    weight[0] = _EMPTY_WEIGHT
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), weight=weight)


def soft_bins(sigma: float, device: torch.device | None = None) -> torch.Tensor:
    """Return for each bin a Gaussian over the bins, rows summing to 1. [BIN_COUNT, BIN_COUNT]."""
    bins = torch.arange(BIN_COUNT, dtype=torch.float32, device=device)
    return torch.softmax(-((bins[:, None] - bins) ** 2) / (2 * sigma**2), dim=-1)


def answer_losses(
    logits: torch.Tensor, labels: torch.Tensor, first_location_id: int, softness: torch.Tensor
) -> torch.Tensor:
    """Return the mean loss of each answer's tokens, location targets softened. [B].

    Shapes: logits [B, T, vocabulary]; labels [B, T]; softness as ``soft_bins`` gives it.
    """
    counted = labels != IGNORED
    log_probs = functional.log_softmax(logits[counted].float(), dim=-1)  # [tokens, vocabulary]
    wanted = labels[counted]
    bins = wanted - first_location_id
    located = (bins >= 0) & (bins < BIN_COUNT)
    block = log_probs[located, first_location_id : first_location_id + BIN_COUNT]
    soft = -(softness[bins[located]] * block).sum(dim=-1)
    # The mean predicted location: its distance corrects far misses, which the loss of single bins
    # hardly tells apart.
    pointed = block.exp() @ torch.arange(BIN_COUNT, dtype=block.dtype, device=block.device)
    missed = (pointed - bins[located] * block.exp().sum(dim=-1)).abs() / BIN_COUNT
    losses = -log_probs.gather(1, wanted[:, None])[:, 0]
    losses = losses.masked_scatter(located, soft + _POINTING_WEIGHT * missed)
    rows = counted.nonzero()[:, 0]
    summed = torch.zeros(len(labels), device=losses.device).index_add(0, rows, losses)
    return summed / counted.sum(dim=1)


@torch.no_grad()
def start_from_waves(model: Florence2ForConditionalGeneration, first_location_id: int) -> None:
    """Set the embeddings of rows, columns and location tokens to sine-cosine values."""
    position = model.model.multi_modal_projector.image_position_embed
    for embedding in (position.row_embeddings, position.column_embeddings):
        weight = embedding.weight
        weight.copy_(_waves(len(weight), weight.shape[1], longest=4 * len(weight), shortest=4.0))
    shared = model.model.language_model.shared.weight
    waves = _waves(BIN_COUNT, shared.shape[1], longest=2 * BIN_COUNT, shortest=30.0)
    shared[first_location_id : first_location_id + BIN_COUNT] = 0.08 * waves


def _waves(count: int, width: int, *, longest: float, shortest: float) -> torch.Tensor:
    lengths = torch.logspace(math.log10(longest), math.log10(shortest), width // 2)
    angle = 2 * math.pi * torch.arange(count)[:, None] / lengths
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
