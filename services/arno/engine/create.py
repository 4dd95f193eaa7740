"""Build the engine that the settings ask for."""

from __future__ import annotations

from pathlib import Path

from arno.engine.checkpoints.folders import find_model, require_whole
from arno.engine.interface import Engine
from arno.engine.null_engine import NULL_MODEL, NullEngine
from arno.engine.settings import EngineSettings
from arno.errors import MissingExtraError
from arno.ops.clock import SYSTEM_CLOCK, Clock


def create_engine(settings: EngineSettings, *, clock: Clock = SYSTEM_CLOCK) -> Engine:
    """Load the model and return its engine; `warm_up` comes next.

    Args:
        settings: Which model, and within which bounds.
        clock: Deadlines are in its monotonic time.

    Raises:
        ModelError: The model cannot be found, read or served.
        MissingExtraError: The extra `arno[worker]` is not installed.
    """
    if settings.model == NULL_MODEL:
        return NullEngine(settings, clock)
    try:
        folder = find_model(settings.model, download=settings.download)
        require_whole(folder)  # before torch is imported, which takes seconds
        from arno.engine.checkpoints import load_checkpoint
        from arno.engine.continuous_engine import ContinuousEngine
        from arno.engine.heads.description import is_head
    except ModuleNotFoundError as fault:
        raise MissingExtraError(
            f"the engine needs {fault.name}: pip install 'arno[worker]'", extra="worker"
        ) from fault
    if is_head(folder):
        return _head_engine(folder, settings, clock)
    return ContinuousEngine(load_checkpoint(settings), settings, clock)


def _head_engine(folder: Path, settings: EngineSettings, clock: Clock) -> Engine:
    try:
        from arno.engine.heads.head_engine import HeadEngine
        from arno.engine.heads.load import load_head
    except ModuleNotFoundError as fault:
        raise MissingExtraError(
            f"a head needs {fault.name}: pip install 'arno[heads]'", extra="heads"
        ) from fault
    return HeadEngine(load_head(folder, settings), settings, clock)
