"""Scenes of the rendered world as samples."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from arno.errors import InvalidFieldError
from arno.training.data.sample import Sample
from arno.training.data.source import SampleSource
from arno.training.data.world_samples import WORLD_TASKS, samples
from arno.training.world import Split
from arno.vocabulary import Task


class WorldScenes(SampleSource):
    """The samples of some scenes of a split, chosen by a seed."""

    def __init__(
        self, *, seed: int, count: int, split: Split, tasks: Sequence[Task] | None = None
    ) -> None:
        """Choose the scenes; they are drawn when their image is opened.

        Raises:
            InvalidFieldError: The scenes have nothing to ask for these tasks.
        """
        wanted = tuple(tasks) if tasks is not None else WORLD_TASKS
        chosen = random.Random(seed).sample(split.value, count)  # noqa: S311 - no secret
        first = split.value.start
        self._samples = [
            sample for number in chosen for sample in samples(split, number - first, tasks=wanted)
        ]
        if not self._samples:
            problem = f"the scenes have no sample for {', '.join(wanted)}"
            raise InvalidFieldError(field=f"world:seed={seed}", problem=problem)
        facts = f"{seed} {count} {split.name} {wanted}"
        answers = "".join(f"{sample.spec}{sample.answer}" for sample in self._samples)
        self._digest = hashlib.sha256(f"{facts}{answers}".encode()).hexdigest()

    @property
    def digest(self) -> str:
        """SHA-256 of the questions and answers."""
        return self._digest

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]
