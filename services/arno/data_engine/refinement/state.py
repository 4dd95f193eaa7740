"""What a refinement has come to: the rounds that are done, the best of them, and why it ended."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from arno.errors import ConfigurationError
from arno.ops.atomic_file import write_atomically

STATE_FILE: Final = "refine.json"


@dataclass(frozen=True, slots=True)
class Round:
    """A round that is done. Round 0 is the data before any training.

    Attributes:
        number: From 0.
        held_out: Mean over tasks and questions of how good the answers to held-out questions are,
            0..1; None in round 0.
        figures: Figures of the held-out data, by task and name.
        data: Counts of what is trained on next, by name.
        agreement: Figures of that data against the truth; empty without one.
        seconds: How long it took, in the process that ended it.
    """

    number: int
    held_out: float | None
    figures: dict[str, dict[str, float]]
    data: dict[str, int]
    agreement: dict[str, float]
    seconds: float


@dataclass(slots=True)
class State:
    """The rounds of a folder.

    Attributes:
        identity: The settings and the data; another run has others.
        rounds: What is done, in order.
        ended: Why there is no further round; empty while there may be one.
    """

    identity: dict[str, Any]
    rounds: list[Round] = field(default_factory=list)
    ended: str = ""

    @property
    def best(self) -> Round | None:
        """The round with the best held-out figure, of equals the first; None before round 1."""
        judged = [one for one in self.rounds if one.held_out is not None]
        return max(judged, key=lambda one: (one.held_out or 0.0, -one.number), default=None)

    def document(self) -> dict[str, Any]:
        """Return the state as JSON."""
        best = self.best
        return {**asdict(self), "best": None if best is None else best.number}


def load_state(folder: Path, identity: dict[str, Any]) -> State:
    """Return the state of a folder, or that of a new run.

    Raises:
        ConfigurationError: The folder holds a run with other settings or other data.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return State(identity)
    document = json.loads(path.read_bytes())
    there = document["identity"]
    if there != identity:
        changed = sorted(
            name for name in {*there, *identity} if there.get(name) != identity.get(name)
        )
        raise ConfigurationError(
            f"{folder} holds a run with another {', '.join(changed)}; choose another --out"
        )
    return State(identity, [Round(**one) for one in document["rounds"]], document["ended"])


def save_state(folder: Path, state: State) -> None:
    """Write the state whole."""
    with write_atomically(folder / STATE_FILE) as written:
        written.write_text(json.dumps(state.document(), indent=2) + "\n", encoding="utf-8")
