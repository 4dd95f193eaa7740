"""The question that every engine under test is asked (one image, one task), and how it replies."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, equal for all engines.

    Attributes:
        ask_id: Its place in the workload.
        task: A Florence-2 task's name.
        prompt: The training prompt.
        image: The bytes of an image file.
        token_limit: Most tokens of the answer, the end included. With random weights the end never
            comes by itself, so this is the length.
        num_beams: 1 is greedy.
        no_repeat_ngram_size: 0 allows repeats.
    """

    ask_id: int
    task: str
    prompt: str
    image: bytes
    token_limit: int
    num_beams: int = 3
    no_repeat_ngram_size: int = 3

    def to_json(self) -> dict[str, Any]:
        """Return the body of an HTTP request."""
        return {
            "ask_id": self.ask_id,
            "task": self.task,
            "prompt": self.prompt,
            "image": base64.b64encode(self.image).decode("ascii"),
            "token_limit": self.token_limit,
            "num_beams": self.num_beams,
            "no_repeat_ngram_size": self.no_repeat_ngram_size,
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Ask:
        """Return the ask of a body that `to_json` wrote."""
        return cls(**(fields | {"image": base64.b64decode(fields["image"])}))


@dataclass(frozen=True, slots=True)
class Serving:
    """How an engine runs.

    Attributes:
        model: The folder of the checkpoint.
        device: ``cpu`` or ``cuda``.
        dtype: torch's name of a number format.
        batch_max: Most requests of a static batch.
        sequences_max: Most sequences that Arno decodes together.
        compiled: Whether Arno's vision encoder is compiled.
        image_side: Side of images in pixels, for Arno; 0 takes the model's own.
    """

    model: str
    device: str = "cpu"
    dtype: str = "float32"
    batch_max: int = 8
    sequences_max: int = 16
    compiled: bool = False
    image_side: int = 0


Reply: TypeAlias = Callable[[int, tuple[int, ...], str], None]
"""Takes an ask's id, the tokens of its answer, and the error, empty if there is none."""


class Answerer(Protocol):
    """Answers asks, in any order."""

    def put(self, ask: Ask) -> None:
        """Take an ask; return at once."""


class UnavailableError(Exception):
    """An engine cannot be measured here; the message says why."""
