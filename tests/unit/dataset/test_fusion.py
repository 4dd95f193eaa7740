"""Weighted boxes fusion: that of `ensemble_boxes`, for many images at once."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from arno.dataset.fusion import fuse

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ensemble_boxes import weighted_boxes_fusion


def scattered(rng: np.random.Generator, count: int, models: int):
    """Objects that each model sees a little differently, and some that it imagines; 0..1."""
    corners = rng.uniform(0, 0.6, (count, 2))
    objects = np.concatenate([corners, corners + rng.uniform(0.1, 0.4, (count, 2))], axis=1)
    seen = [np.clip(objects + rng.normal(0, 0.02, objects.shape), 0, 1) for _ in range(models)]
    return seen, [rng.uniform(0.05, 1, count) for _ in range(models)]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("overlap", [0.4, 0.55, 0.8])
def test_clusters_are_those_of_ensemble_boxes(seed, overlap):
    rng = np.random.default_rng(seed)
    models = int(rng.integers(2, 5))
    boxes, scores = scattered(rng, int(rng.integers(1, 30)), models)
    labels = [rng.integers(0, 3, len(one)) for one in scores]
    expected = weighted_boxes_fusion(boxes, scores, labels, None, overlap)

    all_labels = np.concatenate(labels)
    found = fuse(np.concatenate(boxes), np.concatenate(scores), all_labels, overlap)
    confidence = found.scores * np.minimum(found.counts, models) / models
    order = np.argsort(-confidence, kind="stable")
    expected_order = np.argsort(-expected[1], kind="stable")
    # The reference keeps single precision.
    np.testing.assert_allclose(confidence[order], expected[1][expected_order], atol=1e-5)
    np.testing.assert_allclose(found.boxes[order], expected[0][expected_order], atol=1e-5)
    label_of = np.zeros(len(found.counts), np.int64)
    label_of[found.of] = all_labels
    np.testing.assert_array_equal(label_of[order], expected[2][expected_order])


def test_groups_are_fused_as_if_each_were_alone():
    rng = np.random.default_rng(3)
    sizes = [1, 2, 3, 5, 8, 13, 21]
    parts = [scattered(rng, size, 2) for size in sizes]
    boxes = np.concatenate([box for seen, _ in parts for box in seen])
    scores = np.concatenate([score for _, given in parts for score in given])
    groups = np.repeat(np.arange(len(sizes)), [2 * size for size in sizes])
    mixed = rng.permutation(len(boxes))
    together = fuse(boxes[mixed], scores[mixed], groups[mixed], 0.55)
    alone = [
        fuse(boxes[groups == at], scores[groups == at], groups[groups == at], 0.55)
        for at in range(7)
    ]
    assert len(together.counts) == sum(len(one.counts) for one in alone)
    assert together.counts.sum() == len(boxes)
    rows = np.concatenate([np.column_stack([one.boxes, one.scores]) for one in alone])
    found = np.column_stack([together.boxes, together.scores])
    np.testing.assert_allclose(found[np.lexsort(found.T)], rows[np.lexsort(rows.T)])
    # Each box is in a cluster that it overlaps.
    assert (np.abs(together.boxes[together.of] - boxes[mixed]).max(axis=1) < 0.3).all()


def test_fused_box_is_the_mean_by_score():
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 12]])
    found = fuse(boxes, np.array([0.75, 0.25]), np.zeros(2, np.int64), 0.5)
    np.testing.assert_allclose(found.boxes, [[0, 0, 10, 10.5]])
    np.testing.assert_allclose(found.scores, [0.5])


def test_no_box_and_no_score_are_taken():
    empty = fuse(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), 0.5)
    assert len(empty.counts) == 0
    zero = fuse(np.array([[0.0, 0, 1, 1]]), np.zeros(1), np.zeros(1, np.int64), 0.5)
    np.testing.assert_allclose(zero.boxes, [[0, 0, 1, 1]])
