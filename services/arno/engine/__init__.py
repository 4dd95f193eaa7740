"""Run Florence-2. Only this package, training and the worker import torch.

Axis letters in shapes: B batch, C channels, H height, W width of pixels, V vision positions, T
prompt tokens, N encoded positions (vision and prompt together), D width. `decoding` has its own.
Importing this package imports no torch; `create_engine` does.
"""

from arno.engine.create import create_engine
from arno.engine.interface import (
    DecodingOptions,
    Engine,
    EngineStatistics,
    Event,
    ModelCard,
    PreparedImage,
    SequenceFinished,
    SequenceProgress,
    SequenceRequest,
)
from arno.engine.settings import EngineSettings

__all__ = [
    "DecodingOptions",
    "Engine",
    "EngineSettings",
    "EngineStatistics",
    "Event",
    "ModelCard",
    "PreparedImage",
    "SequenceFinished",
    "SequenceProgress",
    "SequenceRequest",
    "create_engine",
]
