"""Turn scenes into training batches, rendered in a process of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from arno.tasks import DetectionAnswer, ImageSize, Region, encode
from arno.training.tiny.architecture import IMAGE_SIDE_PX
from arno.training.tiny.tokenizer import build_tokenizer
from arno.training.world import CATEGORIES, Picture, Split, caption, imagine, render

# What cross-entropy passes over.
IGNORED = -100
OBJECTS_MAX = 3
_CLASS_OF = {category: index + 1 for index, category in enumerate(CATEGORIES)}


@dataclass(frozen=True, slots=True)
class Batch:
    """Scenes as tensors.

    Shapes:
        pixels [B, H, W, 3] uint8; detections, captions [B, T] int64, padded with ``IGNORED``; boxes
        [B, N, 4] float32 in units of the sides; classes [B, N] int64, 0 where there is no object.
        Objects are in the order of the answer.
    """

    pixels: torch.Tensor
    detections: torch.Tensor
    captions: torch.Tensor
    boxes: torch.Tensor
    classes: torch.Tensor


def detection_text(picture: Picture) -> str:
    """Return the answer to OD for a picture, as the model has to write it."""
    regions = tuple(Region(seen.category.label, seen.box) for seen in picture.objects)
    return encode(DetectionAnswer(regions), ImageSize(*picture.image.size))


class SceneBatches(IterableDataset[Batch]):
    """An endless stream of batches of new scenes, dealt out in turn to the workers of a run."""

    def __init__(
        self,
        size: int,
        first: int = 0,
        *,
        worker: int = 0,
        workers: int = 1,
        repeat_every: int | None = None,
    ) -> None:
        """Choose the scenes.

        Args:
            size: Scenes a batch.
            first: Number in the training split of the first scene that any worker gets.
            worker: Which of the workers this stream is for.
            workers: How many there are.
            repeat_every: Start again after so many scenes, to prove that a model can learn a few
                by heart.
        """
        self._size = size
        self._first = first + worker * size
        self._stride = workers * size
        self._repeat_every = repeat_every

    def __iter__(self) -> Iterator[Batch]:
        tokenizer = build_tokenizer()
        position = self._first
        while True:
            pictures = []
            for offset in range(position, position + self._size):
                index = offset if self._repeat_every is None else offset % self._repeat_every
                scene = imagine(Split.TRAIN.seed(index))
                pictures.append(render(scene, IMAGE_SIDE_PX, IMAGE_SIDE_PX))
            position += self._stride
            yield Batch(
                pixels=torch.from_numpy(
                    np.stack([np.asarray(picture.image) for picture in pictures])
                ),
                detections=_targets(
                    [tokenizer(detection_text(picture)).input_ids for picture in pictures]
                ),
                captions=_targets(
                    [tokenizer(caption(picture.scene)).input_ids for picture in pictures]
                ),
                boxes=torch.tensor([_boxes(picture) for picture in pictures]),
                classes=torch.tensor([_classes(picture) for picture in pictures]),
            )


def stream(batches: SceneBatches) -> Iterator[Batch]:
    """Return the batches, rendered ahead by one worker process."""
    loader = DataLoader(
        batches, batch_size=None, num_workers=1, prefetch_factor=6, worker_init_fn=_be_nice
    )
    return iter(loader)


def _be_nice(_worker: int) -> None:
    os.nice(1)
    torch.set_num_threads(1)


def _targets(rows: list[list[int]]) -> torch.Tensor:
    length = max(map(len, rows))
    return torch.tensor([row + [IGNORED] * (length - len(row)) for row in rows])


def _boxes(picture: Picture) -> list[tuple[float, float, float, float]]:
    boxes = [(p.x0, p.y0, p.x1, p.y1) for p in picture.scene.placements]
    return boxes + [(0.0, 0.0, 0.0, 0.0)] * (OBJECTS_MAX - len(boxes))


def _classes(picture: Picture) -> list[int]:
    classes = [_CLASS_OF[placement.category] for placement in picture.scene.placements]
    return classes + [0] * (OBJECTS_MAX - len(classes))
