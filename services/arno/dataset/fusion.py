"""Weighted boxes fusion of many images at once.

Boxes of one group (an image and a kind) are taken in falling order of score. Each joins the cluster
whose fused box it overlaps most, or begins a new one; the fused box of a cluster is the mean of its
boxes, weighted by their scores. Source: Solovyev, Wang and Gabruseva 2021, arXiv:1910.13302; equal
to ``ensemble_boxes.weighted_boxes_fusion`` where that is defined (tests/unit/dataset).

Only the steps within a group depend on each other, so each step works on all groups together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from arno.dataset.filters.place_rules import Floats, Ints, overlaps, padded_groups

_SCORE_MIN: Final = 1e-9
"""Stands for a score of 0, which would give a fused box no weight at all."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """What came together.

    Attributes:
        of: The cluster of each box that was given. [N]
        boxes: The fused box of each cluster: x0, y0, x1, y1. [M, 4]
        scores: The mean score of its boxes. [M]
        counts: How many boxes it has. [M]
    """

    of: Ints
    boxes: Floats
    scores: Floats
    counts: Ints


def fuse(boxes: Floats, scores: Floats, groups: Ints, overlap_min: float) -> Clusters:
    """Return the clusters of boxes.

    Args:
        boxes: x0, y0, x1, y1. [N, 4]
        scores: 0..1; of equal scores the earlier box comes first. [N]
        groups: Boxes of different groups never come together. [N]
        overlap_min: The intersection over union above which a box joins a cluster.
    """
    of = np.empty(len(boxes), dtype=np.int64)
    parts: list[tuple[Floats, Floats, Ints]] = []
    cluster_count = 0
    for index, there in padded_groups(scores, groups):
        fused = _fuse_padded(boxes[index], scores[index], there, overlap_min)
        used = fused.counts > 0  # [B, K]
        numbers = np.cumsum(used).reshape(used.shape) - 1 + cluster_count
        of[index[there]] = np.take_along_axis(numbers, fused.of, axis=1)[there]
        parts.append((fused.boxes[used], fused.scores[used], fused.counts[used]))
        cluster_count += int(used.sum())
    if not parts:
        return Clusters(of, np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
    all_boxes, all_scores, all_counts = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Clusters(of, all_boxes, all_scores, all_counts)


def _fuse_padded(
    boxes: Floats,
    scores: Floats,
    there: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    limit: float,
) -> Clusters:
    """Return the clusters of B groups of at most K boxes; those without boxes have a count of 0.

    Shapes: boxes [B, K, 4], scores [B, K], there [B, K]; clusters [B, K, ..], numbered by group.
    """
    group_count, width = there.shape
    rows = np.arange(group_count)
    weights = np.maximum(scores, _SCORE_MIN)
    of = np.zeros((group_count, width), dtype=np.int64)
    begun = np.zeros(group_count, dtype=np.int64)
    weight_sums = np.zeros((group_count, width))
    box_sums = np.zeros((group_count, width, 4))
    score_sums = np.zeros((group_count, width))
    counts = np.zeros((group_count, width), dtype=np.int64)
    fused = np.zeros((group_count, width, 4))
    for column in range(width):
        box = boxes[:, column]
        shared = overlaps(box[:, None], fused[:, : column + 1])  # [B, column + 1]
        best = shared.argmax(axis=1)
        joins = shared[rows, best] > limit
        target = np.where(joins, best, np.minimum(begun, width - 1))
        now = rows[there[:, column]]
        at = target[now]
        of[:, column] = target
        begun[now] += ~joins[now]
        weight_sums[now, at] += weights[now, column]
        box_sums[now, at] += weights[now, column, None] * box[now]
        score_sums[now, at] += scores[now, column]
        counts[now, at] += 1
        fused[now, at] = box_sums[now, at] / weight_sums[now, at, None]
    means = np.divide(score_sums, counts, out=np.zeros_like(score_sums), where=counts > 0)
    return Clusters(of, fused, means, counts)
