"""The losses of heads: Mask R-CNN's five parts, or the cross-entropy of pixels.

Stands alone: the port is in `trainer/objective.py`, and this is its other implementation.
"""

from __future__ import annotations

from typing import Any

import torch

from arno.engine.heads.segmentation import SegmentationHead
from arno.training.heads.batches import HeadBatch
from arno.training.heads.model import TrainableHead
from arno.training.trainer.objective import Loss, Step
from arno.training.trainer.settings import TrainSettings


class HeadObjective:
    """The mean loss of the images of a step."""

    # Frozen stages are no weights that learn, and torchvision's losses of a batch without an object
    # are zeros that depend on all weights.
    partly_used = False

    def __init__(self, head: TrainableHead, settings: TrainSettings) -> None:
        """Take the head; `settings` decide the number format."""
        self.network = head.network
        self.device = head.device
        self._frozen = settings.vision_stages == 0
        self._bfloat16 = settings.precision == "bfloat16" or (
            settings.precision == "auto" and head.device.type == "cuda"
        )

    def start(self) -> None:
        """Put the network into training mode, a frozen vision encoder excepted."""
        self.network.train()
        if self._frozen:
            self.network.stages.tower.train(mode=False)

    def loss(self, network: Any, batch: HeadBatch, step: Step) -> Loss:
        """Return the loss of a micro-batch."""
        batch = batch.to(self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._bfloat16):
            if isinstance(self.network, SegmentationHead):
                parts = {"pixels": network(batch.pixels, batch.labels)}
            else:
                parts = network(batch.pixels, list(batch.targets))
        # Each part is a mean over the images of its batch; averaged over the processes, this is
        # the mean over all images of the step.
        share = len(batch.pixels) * step.process_count / step.token_count
        value = torch.stack([part.float() for part in parts.values()]).sum() * share
        names = {name.removeprefix("loss_"): part for name, part in parts.items()}
        return Loss(value, {name: float(part.detach()) * share for name, part in names.items()})
