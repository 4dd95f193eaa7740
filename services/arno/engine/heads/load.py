"""Build, write and load heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from arno.engine.checkpoints.folders import SCALED, fingerprint, with_modes
from arno.engine.checkpoints.load import choose_device, choose_dtype
from arno.engine.device import use_threads
from arno.engine.heads.description import HeadDescription, HeadKind, read_description
from arno.engine.heads.detection import DetectionHead
from arno.engine.heads.segmentation import SegmentationHead
from arno.engine.heads.stages import DavitStages, build_tower
from arno.engine.interface import ModelCard
from arno.engine.layers.int8 import INT8
from arno.engine.settings import EngineSettings
from arno.errors import ModelError

WEIGHTS_FILE: Final = "model.safetensors"
HeadNetwork = DetectionHead | SegmentationHead


@dataclass(frozen=True, slots=True)
class Head:
    """A head that is ready to run.

    Attributes:
        card: Identifies it in results.
        description: What it is.
        network: Its network, on the device, in evaluation mode.
        device: Where the network is.
    """

    card: ModelCard
    description: HeadDescription
    network: HeadNetwork
    device: torch.device


def build_network(description: HeadDescription) -> HeadNetwork:
    """Return the network of a description, with random weights.

    Raises:
        ModelError: No vision encoder can be built from the description.
    """
    stages = DavitStages(build_tower(description.vision))
    if description.kind is HeadKind.DETECTION:
        return DetectionHead(stages, description)
    return SegmentationHead(stages, description)


def write_head(
    folder: Path, description: HeadDescription, weights: Mapping[str, torch.Tensor]
) -> None:
    """Write description and weights into a folder that exists."""
    description.write(folder)
    save_file(
        {name: one.detach().cpu().contiguous() for name, one in weights.items()},
        folder / WEIGHTS_FILE,
    )


def load_head(folder: Path, settings: EngineSettings) -> Head:
    """Load a head.

    Args:
        folder: Its folder.
        settings: The device, the number format, the number of threads, and its name in results.

    Raises:
        ModelError: A file is missing, cannot be read, or does not fit the others.
    """
    description = read_description(folder)
    network = build_network(description)
    path = folder / WEIGHTS_FILE
    try:
        network.load_state_dict(load_file(path), strict=True)
    except (OSError, SafetensorError, RuntimeError) as fault:
        raise ModelError(f"model: {path} cannot be loaded: {fault}") from fault
    device = choose_device(settings.device)
    if settings.dtype == INT8 or settings.image_side:
        raise ModelError(
            "dtype: int8, and image_side, are for models that answer with words; a head takes "
            f"bfloat16, and images of {description.recipe.side_px} pixels a side"
        )
    dtype = choose_dtype(settings.dtype, device)
    use_threads(settings.threads or 1, device)
    network.to(device)
    network.requires_grad_(False).train(mode=False)
    card = ModelCard(
        name=settings.model,
        fingerprint=with_modes(fingerprint(folder), [SCALED] * settings.scaled_decoding),
        dtype=str(dtype).removeprefix("torch."),
        position_count=1,
        image_size_px=description.recipe.side_px,
        categories=description.categories,
        tasks=description.tasks,
    )
    return Head(card, description, network, device)
