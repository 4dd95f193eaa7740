"""Keep the state of a run in one file, replaced atomically: a kill leaves the old or the new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import torch

from arno.errors import ConfigurationError
from arno.ops.atomic_file import write_atomically

CHECKPOINT_FILE: Final = "checkpoint.pt"


class Stateful(Protocol):
    """A part of a run that changes from step to step."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return the state as tensors, numbers and texts in lists and dictionaries."""

    def load_state_dict(self, state: Any) -> Any:
        """Take the state over."""


@dataclass(slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        step: Number of steps done.
        trained_s: Seconds spent on them, over all starts.
        errors: What is wrong with the broken samples met so far, by the number of the sample.
    """

    step: int = 0
    trained_s: float = 0.0
    errors: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The file with the state of a run.

    Attributes:
        folder: The folder of the run.
        identity: Everything that decides the run's weights; a checkpoint with another identity is
            refused.
        parts: What is saved and restored, by name.
        facts: What is saved beside it for readers of the file, and not compared.
    """

    folder: Path
    identity: Mapping[str, Any]
    parts: Mapping[str, Stateful]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def save(self, progress: Progress) -> None:
        """Write the state; when this returns it survives a loss of power."""
        state = {
            **{name: part.state_dict() for name, part in self.parts.items()},
            "identity": dict(self.identity),
            "facts": dict(self.facts),
            "step": progress.step,
            "trained_s": progress.trained_s,
            "faults": progress.errors,
        }
        with write_atomically(self.folder / CHECKPOINT_FILE) as path:
            torch.save(state, path)

    def load(self, device: torch.device) -> Progress:
        """Restore the state where the folder has one; return how far the run had come.

        Raises:
            ConfigurationError: The state is of a run with another identity, or cannot be read.
        """
        path = self.folder / CHECKPOINT_FILE
        if not path.exists():
            return Progress()
        try:
            state = torch.load(path, map_location=device, weights_only=True)
        except Exception as fault:  # torch raises nearly anything on broken files
            raise ConfigurationError(f"out: {path} cannot be read: {fault}") from fault
        _check_identity(path, state["identity"], self.identity)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return Progress(state["step"], state["trained_s"], state["faults"])


def _check_identity(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differences = [
        f"{name} was {found.get(name)}, is {wanted.get(name)}"
        for name in wanted
        if found.get(name) != wanted.get(name)
    ]
    if differences:
        raise ConfigurationError(
            f"out: {path} is of another run ({'; '.join(differences)}); name another folder, or "
            "delete it to begin again"
        )
