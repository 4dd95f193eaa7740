"""Keep a run's state in one file, replaced as a whole: a kill leaves the last or the new one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from arno.errors import ConfigurationError
from arno.training.trainer.learner import Learner
from arno.training.trainer.order import Schedule
from arno.training.trainer.settings import TrainSettings

_FILE = "checkpoint.pt"
# What decides the weights of each step. Micro-batches, processes and devices do not.
_DECIDING = (
    "seed",
    "batch",
    "weight_decay",
    "gradient_norm_max",
    "lora_rank",
    "lora_alpha",
    "lora_dropout",
    "freeze_vision",
    "precision",
)


@dataclass(slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        step: Steps done.
        trained_s: Seconds spent on them, over all starts.
        faults: What is wrong with the broken samples met, by their number.
    """

    step: int = 0
    trained_s: float = 0.0
    faults: dict[int, str] = field(default_factory=dict)


def identity_of(
    settings: TrainSettings, schedule: Schedule, data_digest: str, fingerprint: str
) -> dict[str, Any]:
    """Return what decides a run's weights; a checkpoint of another run has another."""
    return {
        "data": data_digest,
        "model": fingerprint,
        "steps": schedule.step_count,
        "warm_up_steps": schedule.warm_up_steps,
        "learning_rate": schedule.peak,
        **{name: getattr(settings, name) for name in _DECIDING},
    }


def save_state(
    out: Path,
    identity: Mapping[str, Any],
    learner: Learner,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write the state into the run's folder; when this returns it outlasts a loss of power."""
    state = {
        "identity": dict(identity),
        "weights": {name: one.detach() for name, one in learner.learning()},
        "optimiser": optimiser.state_dict(),
        "step": progress.step,
        "trained_s": progress.trained_s,
        "faults": progress.faults,
    }
    partial = out / f"{_FILE}.part"
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(out / _FILE)


def load_state(
    out: Path, identity: Mapping[str, Any], learner: Learner, optimiser: torch.optim.Optimizer
) -> Progress:
    """Go on from the state in the run's folder, or begin where there is none.

    Raises:
        ConfigurationError: It is of a run with other data or settings, or cannot be read.
    """
    path = out / _FILE
    if not path.exists():
        return Progress()
    try:
        state = torch.load(path, map_location=learner.device, weights_only=True)
    except Exception as fault:  # torch raises nearly anything on broken files
        raise ConfigurationError(f"out: {path} cannot be read: {fault}") from fault
    _check_identity(path, state["identity"], identity)
    with torch.no_grad():
        for name, one in learner.learning():
            one.copy_(state["weights"][name])
    optimiser.load_state_dict(state["optimiser"])
    return Progress(state["step"], state["trained_s"], state["faults"])


def _check_identity(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    others = [
        f"{name} was {found.get(name)}, is {wanted.get(name)}"
        for name in wanted
        if found.get(name) != wanted.get(name)
    ]
    if others:
        raise ConfigurationError(
            f"out: {path} is of another run ({'; '.join(others)}); name another folder, or delete "
            "it to begin again"
        )
