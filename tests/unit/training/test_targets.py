"""What the model is asked to write, and the aids that help it, agree with the scene."""

from __future__ import annotations

import re

import pytest
import torch
from arno.tasks import ImageSize, quantise
from arno.training.tiny.aids import cell_targets, sequence_loss, soft_bins
from arno.training.tiny.batches import IGNORED, SceneBatches, detection_text
from arno.training.world import Split, imagine, render

pytestmark = pytest.mark.model


def test_a_detection_answer_is_labels_and_four_locations_in_reading_order() -> None:
    picture = render(imagine(Split.TEST.seed(0)), 200, 100)
    text = detection_text(picture)
    assert re.fullmatch(r"([a-z]+(<loc_\d{1,3}>){4})+", text)
    labels = re.findall(r"[a-z]{3,}(?=<loc)", text)
    assert labels == [seen.category.label for seen in picture.objects]
    size = ImageSize(*picture.image.size)
    box = picture.objects[0].box
    bins = [int(found) for found in re.findall(r"<loc_(\d+)>", text)[:4]]
    sides = [size.width_px, size.height_px] * 2
    corners = (box.x0, box.y0, box.x1, box.y1)
    assert bins == [quantise(value, side) for value, side in zip(corners, sides, strict=True)]


def test_workers_never_get_the_same_scene() -> None:
    streams = [iter(SceneBatches(2, 0, worker=worker, workers=2)) for worker in (0, 1)]
    first, second, third = next(streams[0]), next(streams[1]), next(streams[0])
    seen = torch.cat([first.pixels, second.pixels, third.pixels]).flatten(1)
    assert len(seen.unique(dim=0)) == 6


def test_answers_end_and_are_padded_with_what_the_loss_ignores() -> None:
    batch = next(iter(SceneBatches(4)))
    for row in batch.detections.tolist():
        answer = [token for token in row if token != IGNORED]
        assert answer[0] == 0
        assert answer[-1] == 2
        assert row == answer + [IGNORED] * (len(row) - len(answer))


def test_the_cell_at_a_centre_belongs_to_its_object() -> None:
    boxes = torch.tensor([[[0.0, 0.0, 0.25, 0.25], [0.5, 0.5, 1.0, 1.0], [0.0] * 4]])
    targets = cell_targets(boxes, torch.tensor([[3, 5, 0]]))
    grid, ranks = targets.classes.view(8, 8), targets.ranks.view(8, 8)
    assert grid[1, 1] == 3
    assert ranks[1, 1] == 1
    assert grid[6, 6] == 5
    assert ranks[6, 6] == 2
    assert grid[0, 7] == 0


def test_soft_targets_are_least_costly_at_the_right_bin() -> None:
    softness = soft_bins(5.0)
    assert torch.allclose(softness.sum(dim=1), torch.ones(1000))

    def loss(said: int) -> float:
        logits = torch.zeros(1, 1, 1004)
        logits[0, 0, 4 + said] = 5.0
        return sequence_loss(logits, torch.tensor([[4 + 500]]), 4, softness).item()

    assert loss(500) < loss(505) < loss(600)
