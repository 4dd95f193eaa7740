"""Named groups of settings: the recipes of the Florence-2 paper (arXiv 2311.06242).

Stands alone: recipes are read beside docs/paper.md, which says what each one reproduces.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_SAMPLES_A_STEP: Final = 2048
_WARM_UP_STEPS: Final = 5_000


def _pre_training(image_px: int, samples: float) -> Mapping[str, object]:
    """Return the settings of one resolution of pre-training, over a number of samples."""
    steps = round(samples / _SAMPLES_A_STEP)
    return MappingProxyType(
        {
            "image_px": image_px,
            "batch": _SAMPLES_A_STEP,
            "steps": steps,
            "warm_up_part": _WARM_UP_STEPS / steps,
            "schedule": "cosine",
            "learning_rate": 1e-4,
            "learning_rate_end": 1e-7,
            "weight_decay": 0.05,
            "precision": "bfloat16",
            "mixture": "text=1,region=1,triplet=1",
        }
    )


PRESETS: Final[Mapping[str, Mapping[str, object]]] = MappingProxyType(
    {
        "none": MappingProxyType({}),
        "paper-384": _pre_training(384, 3.0e9),
        "paper-768": _pre_training(768, 0.5e9),
        "paper-heads": MappingProxyType(
            {
                "epochs": 12.0,
                "schedule": "steps",
                "learning_rate": 1e-4,
                "weight_decay": 0.05,
                "batch": 16,
            }
        ),
    }
)
"""Settings by the name of their preset; what is set beside a preset wins over it."""
