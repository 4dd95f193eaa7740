"""Read and write the calibration of a model: one file beside its weights.

Stands alone: loading reads the file, and `arno eval --calibrate` writes it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from arno.engine.checkpoints.folders import read_json
from arno.errors import ModelError
from arno.ops.atomic_file import write_atomically
from arno.vocabulary import Task
from arno.vocabulary.calibration import UNCALIBRATED, Calibration, ScoreMap

logger = logging.getLogger(__name__)

CALIBRATION_FILE: Final = "calibration.json"
"""Not part of a model's fingerprint, which it names: it changes no token."""

_VERSION: Final = 1


def read_calibration(folder: Path, fingerprint: str) -> Calibration:
    """Return the calibration in a model's folder; one without maps where there is none.

    A file that was fitted to other weights is not used, and a warning says so.

    Raises:
        ModelError: The file cannot be read, or is of another version.
    """
    path = folder / CALIBRATION_FILE
    if not path.is_file():
        return UNCALIBRATED
    facts = read_json(path)
    if facts.get("version") != _VERSION:
        problem = f"is of version {facts.get('version')!r}; this Arno reads {_VERSION}"
        raise ModelError(f"model: {path} {problem}")
    if facts.get("fingerprint") != fingerprint:
        logger.warning(
            "%s was fitted to other weights, so scores are not calibrated; fit it again with: "
            "arno eval --model MODEL --data DATA --calibrate",
            path,
        )
        return UNCALIBRATED
    try:
        return Calibration({Task(name): _map(one) for name, one in facts["tasks"].items()})
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ModelError(f"model: {path} is no calibration: {fault!r}") from fault


def write_calibration(
    folder: Path, calibration: Calibration, *, fingerprint: str, fitted_on: Mapping[str, Any]
) -> Path:
    """Write a calibration into a model's folder, and return the file.

    Args:
        folder: The folder of the weights; of an adapter, its own.
        calibration: What was fitted.
        fingerprint: That of the model.
        fitted_on: What it was fitted on, for readers of the file.

    Raises:
        ModelError: The folder cannot be written.
    """
    tasks = {
        task: {"scores": one.scores, "values": one.values} for task, one in calibration.maps.items()
    }
    facts = {"version": _VERSION, "fingerprint": fingerprint, **fitted_on, "tasks": tasks}
    path = folder / CALIBRATION_FILE
    try:
        with write_atomically(path) as written:  # a half-written one keeps the model from loading
            written.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    except OSError as fault:
        raise ModelError(f"model: {path} cannot be written: {fault}") from fault
    return path


def _map(facts: Mapping[str, Any]) -> ScoreMap:
    return ScoreMap(tuple(map(float, facts["scores"])), tuple(map(float, facts["values"])))
