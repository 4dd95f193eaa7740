"""Mask R-CNN over the stages of a DaViT: torchvision's detector, with a pyramid of our features.

Sources: He et al., "Mask R-CNN" (2017); Lin et al., "Feature pyramid networks" (2017).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from arno.engine.heads.description import HeadDescription
from arno.engine.heads.stages import STAGE_COUNT, DavitStages

_ASPECTS: Final = (0.5, 1.0, 2.0)
_BOX_CELLS, _MASK_CELLS = 7, 14
_HIDDEN_FACTOR: Final = 4
"""Width of the box branch, in widths of the pyramid: 1024 for the usual 256."""
_MASK_LAYERS: Final = 4


class DavitPyramid(nn.Module):
    """Stages and pyramid as torchvision's detectors take them: named maps of equal width."""

    def __init__(self, stages: DavitStages, width: int) -> None:
        """Build the pyramid over the stages, with one coarser level on top."""
        super().__init__()
        self.stages = stages
        self.pyramid = FeaturePyramidNetwork(stages.channels, width, LastLevelMaxPool())
        self.out_channels = width

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the maps by name, the finest first."""
        found = self.stages(pixels)
        named = OrderedDict((str(index), one) for index, one in enumerate(found))
        maps: dict[str, torch.Tensor] = self.pyramid(named)
        return maps


class DetectionHead(nn.Module):
    """A detector of the categories of a description.

    In training it takes targets and returns its losses; else boxes, labels, scores and masks.
    """

    def __init__(self, stages: DavitStages, description: HeadDescription) -> None:
        """Build the detector; all but the stages starts from random weights."""
        super().__init__()
        self.detector = _detector(DavitPyramid(stages, description.width), description)

    @property
    def stages(self) -> DavitStages:
        """The vision encoder. A part of the detector, so that each weight has one name."""
        pyramid: Any = self.detector.backbone
        stages: DavitStages = pyramid.stages
        return stages

    def forward(
        self, pixels: torch.Tensor, targets: list[dict[str, torch.Tensor]] | None = None
    ) -> Any:
        """Return losses by name, or a dictionary an image.

        Shapes: pixels [B, 3, S, S], normalised. Of a target and of a finding: boxes [N, 4] in
        pixels of the square, labels [N] from 1, masks [N, S, S], [N, 1, S, S] found; scores [N].
        """
        return self.detector(list(pixels), targets)


def _detector(pyramid: DavitPyramid, description: HeadDescription) -> FasterRCNN:
    side, width = description.recipe.side_px, description.width
    levels = [str(index) for index in range(STAGE_COUNT)]
    hidden = _HIDDEN_FACTOR * width
    class_count = 1 + len(description.categories)
    anchors = tuple((description.anchor_px * 2**level,) for level in range(STAGE_COUNT + 1))
    options: dict[str, Any] = {
        # Pixels come at the right size and normalised: the detector is to change nothing.
        "min_size": side,
        "max_size": side,
        "fixed_size": (side, side),
        "size_divisible": 1,
        "image_mean": [0.0, 0.0, 0.0],
        "image_std": [1.0, 1.0, 1.0],
        "rpn_anchor_generator": AnchorGenerator(anchors, (_ASPECTS,) * len(anchors)),
        "box_roi_pool": MultiScaleRoIAlign(levels, _BOX_CELLS, sampling_ratio=2),
        "box_head": TwoMLPHead(width * _BOX_CELLS**2, hidden),
        "box_predictor": FastRCNNPredictor(hidden, class_count),
        "box_batch_size_per_image": description.region_samples,
    }
    if not description.has_masks:
        return FasterRCNN(pyramid, **options)
    return MaskRCNN(
        pyramid,
        mask_roi_pool=MultiScaleRoIAlign(levels, _MASK_CELLS, sampling_ratio=2),
        mask_head=MaskRCNNHeads(width, (width,) * _MASK_LAYERS, 1),
        mask_predictor=MaskRCNNPredictor(width, width, class_count),
        **options,
    )
