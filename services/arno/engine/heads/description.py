"""What a head is, in words and numbers: the `config.json` of its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from PIL import Image

from arno.engine.checkpoints.config import PixelRecipe
from arno.engine.checkpoints.folders import CONFIG_FILE, read_json
from arno.errors import ModelError
from arno.vocabulary import Task

MODEL_TYPE: Final = "arno_head"
BACKGROUND: Final = "background"
"""The category of the pixels that belong to no object, where data has no name for them."""


class HeadKind(StrEnum):
    """What a head finds."""

    DETECTION = "detection"
    """Objects with boxes and masks: Mask R-CNN, or Faster R-CNN without masks."""
    SEGMENTATION = "segmentation"
    """A category for each pixel: UPerNet."""


_ANSWERED: Final = {
    HeadKind.DETECTION: (Task.OD, Task.REGION_PROPOSAL, Task.OPEN_VOCABULARY_DETECTION),
    HeadKind.SEGMENTATION: (Task.OPEN_VOCABULARY_DETECTION, Task.REFERRING_EXPRESSION_SEGMENTATION),
}


@dataclass(frozen=True, slots=True)
class HeadDescription:
    """Everything that decides the network of a head, and how its images are prepared.

    Attributes:
        kind: What it finds.
        categories: Names of the categories, in the order of the network's outputs.
        recipe: How images become pixels; they are squeezed into a square.
        width: Channels of the pyramid.
        anchor_px: Side of the smallest anchors of a detector, in pixels of that square.
        region_samples: Proposals of an image that a detector learns from in a step.
        has_masks: Whether a detector finds masks too.
        vision: Fields of the configuration of the vision encoder.
        base: Name of the model that the vision encoder is from.
        base_fingerprint: Fingerprint of that model.
    """

    kind: HeadKind
    categories: tuple[str, ...]
    recipe: PixelRecipe
    width: int
    anchor_px: int
    region_samples: int
    has_masks: bool
    vision: Mapping[str, Any]
    base: str
    base_fingerprint: str

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that it answers."""
        return _ANSWERED[self.kind]

    def write(self, folder: Path) -> None:
        """Write `config.json` into a folder."""
        fields = {"model_type": MODEL_TYPE, **asdict(self)}
        (folder / CONFIG_FILE).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


def is_head(folder: Path) -> bool:
    """Whether a folder holds a head, and not a whole Florence-2."""
    path = folder / CONFIG_FILE
    return path.is_file() and read_json(path).get("model_type") == MODEL_TYPE


def read_description(folder: Path) -> HeadDescription:
    """Read the description of a head.

    Raises:
        ModelError: There is none, or a field is missing or cannot be used.
    """
    path = folder / CONFIG_FILE
    fields = read_json(path)
    try:
        recipe = fields["recipe"]
        categories = fields["categories"]
        if not categories or not all(isinstance(name, str) and name for name in categories):
            raise ValueError("categories must be names")
        return HeadDescription(
            kind=HeadKind(fields["kind"]),
            categories=tuple(categories),
            recipe=PixelRecipe(
                side_px=int(recipe["side_px"]),
                mean=_channels(recipe["mean"]),
                std=_channels(recipe["std"]),
                rescale_factor=float(recipe["rescale_factor"]),
                resample=Image.Resampling(recipe["resample"]),
            ),
            width=int(fields["width"]),
            anchor_px=int(fields["anchor_px"]),
            region_samples=int(fields["region_samples"]),
            has_masks=bool(fields["has_masks"]),
            vision=dict(fields["vision"]),
            base=str(fields["base"]),
            base_fingerprint=str(fields["base_fingerprint"]),
        )
    except (KeyError, TypeError, ValueError) as fault:
        raise ModelError(f"model: {path} does not describe a head: {fault!r}") from fault


def _channels(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue
