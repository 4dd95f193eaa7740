"""Run Florence-2: the only package, with training and the worker, that reaches torch.

Axis letters in shapes: B batch, C channels, T text tokens, V vision tokens, D width, N new tokens,
K vocabulary. Importing this package imports no torch; `create_engine` does.
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
