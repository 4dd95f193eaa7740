"""The network of a head that is trained: the vision encoder of a checkpoint under new layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from arno.engine.checkpoints import load_checkpoint
from arno.engine.heads.description import HeadDescription, HeadKind
from arno.engine.heads.load import HeadNetwork, build_network
from arno.engine.settings import EngineSettings
from arno.training.heads.truth import TruthSource
from arno.training.trainer.model import training_device
from arno.training.trainer.process_group import ProcessGroup
from arno.training.trainer.settings import TrainSettings

_ANCHORS_A_SIDE: Final = 24
"""The smallest anchors of Mask R-CNN are 32 pixels, at 768 pixels a side."""
_ANCHOR_STEPS: Final = 4
_KEPT: Final = ("embed_dim", "depths", "num_heads", "num_groups", "window_size", "mlp_ratio")
_KEPT_OF_PATCHES: Final = ("patch_size", "patch_stride", "patch_padding", "patch_prenorm")
_KEPT_OF_LAYERS: Final = ("qkv_bias", "drop_path_rate", "in_channels", "activation_function")


@dataclass(frozen=True, slots=True)
class TrainableHead:
    """A head of which some weights are trained.

    Attributes:
        description: What it is.
        network: The network, in float32 on the device.
        device: The device of the network.
        base_fingerprint: Fingerprint of the model that the vision encoder is from.
    """

    description: HeadDescription
    network: HeadNetwork
    device: torch.device
    base_fingerprint: str

    def optimiser(self, settings: TrainSettings) -> torch.optim.AdamW:
        """Return AdamW with weight decay on matrices, and none on norms and biases."""
        encoder = {id(one) for one in self.network.stages.tower.parameters()}
        groups: list[dict[str, Any]] = []
        for scale, inside in ((settings.vision_rate, True), (1.0, False)):
            learning = [
                one
                for one in self.network.parameters()
                if one.requires_grad and (id(one) in encoder) is inside
            ]
            for decay, matrices in ((settings.weight_decay, True), (0.0, False)):
                chosen = [one for one in learning if (one.dim() > 1) is matrices]
                if chosen:
                    groups.append({"params": chosen, "weight_decay": decay, "rate_scale": scale})
        return torch.optim.AdamW(groups, lr=settings.peak_learning_rate)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return all weights and running means by name."""
        return dict(self.network.state_dict())

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take all weights and running means over."""
        self.network.load_state_dict(state)


def build_trainable_head(
    settings: TrainSettings, source: TruthSource, group: ProcessGroup
) -> TrainableHead:
    """Put new layers on the vision encoder of a model, and choose the weights that are trained.

    Raises:
        ModelError: The model cannot be found or read.
    """
    device = training_device(settings.device, group)
    loading = {"model": settings.model, "dtype": "float32", "threads": settings.threads}
    checkpoint = load_checkpoint(EngineSettings.model_validate({**loading, "device": "cpu"}))
    tower: Any = checkpoint.network.model.vision_tower
    recipe = checkpoint.recipe
    if settings.image_px:
        recipe = replace(recipe, side_px=settings.image_px)
    fields = tower.config.to_dict()
    kept = (*_KEPT, *_KEPT_OF_PATCHES, *_KEPT_OF_LAYERS)
    finest = _ANCHOR_STEPS * int(tower.config.patch_stride[0])
    description = HeadDescription(
        kind=HeadKind(settings.head),
        categories=source.categories,
        recipe=recipe,
        width=settings.head_width,
        anchor_px=settings.anchor_px or max(finest, round(recipe.side_px / _ANCHORS_A_SIDE)),
        region_samples=settings.region_samples,
        has_masks=source.has_masks,
        vision={name: fields[name] for name in kept if name in fields},
        base=settings.model,
        base_fingerprint=checkpoint.card.fingerprint,
    )
    # The same in every process, and in a resumed run.
    torch.manual_seed(settings.seed)
    network = build_network(description)
    if not settings.vision_random:
        network.stages.tower.load_state_dict(tower.state_dict())
    network.stages.train_last(settings.vision_stages)
    return TrainableHead(description, network.to(device), device, checkpoint.card.fingerprint)
