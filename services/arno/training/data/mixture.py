"""Mix the three kinds of annotation in chosen parts: texts, region-text pairs, triplets."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from arno.errors import InvalidFieldError
from arno.training.data.source import Sample, SampleSource
from arno.vocabulary import Task


class Kind(StrEnum):
    """The kinds of annotation that the Florence-2 paper trains on together."""

    TEXT = "text"
    REGION = "region"
    TRIPLET = "triplet"


_KINDS: Final[Mapping[Task, Kind]] = MappingProxyType(
    {
        Task.CAPTION: Kind.TEXT,
        Task.DETAILED_CAPTION: Kind.TEXT,
        Task.MORE_DETAILED_CAPTION: Kind.TEXT,
        Task.OCR: Kind.TEXT,
        Task.PROMPT: Kind.TEXT,
        Task.CAPTION_TO_PHRASE_GROUNDING: Kind.TRIPLET,
        Task.REFERRING_EXPRESSION_SEGMENTATION: Kind.TRIPLET,
        Task.OPEN_VOCABULARY_DETECTION: Kind.TRIPLET,
    }
)
"""The kinds of tasks; those of all others are pairs of regions and texts."""


def read_mixture(text: str) -> dict[Kind, float]:
    """Read a mixture such as ``text=1,region=2,triplet=1``; parts are relative to their sum.

    Raises:
        ValueError: A name is not that of a kind, or a part is not a number above 0.
    """
    mixture: dict[Kind, float] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, value = part.partition("=")
        try:
            kind, share = Kind(name), float(value)
        except ValueError:
            raise ValueError(f"{part!r} is not one of {', '.join(Kind)} with =PART") from None
        if not 0 < share < float("inf"):
            raise ValueError(f"{part!r}: the part must be above 0")
        mixture[kind] = share
    total = sum(mixture.values())
    return {kind: share / total for kind, share in mixture.items()}


class MixedKinds(SampleSource):
    """As many samples as another source, each kind of annotation in its part.

    Samples of a kind that there is too little of come several times, those of one that there is too
    much of are left out evenly. Kinds without a part are left out.
    """

    def __init__(self, source: SampleSource, mixture: Mapping[Kind, float]) -> None:
        """Choose the samples.

        Raises:
            InvalidFieldError: The source has no sample of a kind.
        """
        self._source = source
        numbers = {kind: array("q") for kind in mixture}
        for number in range(len(source)):
            task = source.task(number)
            kind = None if task is None else _KINDS.get(task, Kind.REGION)
            if kind is not None and kind in numbers:
                numbers[kind].append(number)
        self._chosen = array("q")
        for kind, share in sorted(mixture.items()):
            found = numbers[kind]
            if not found:
                problem = "the data has no sample of this kind"
                raise InvalidFieldError(field="mixture", problem=problem, sent=kind)
            wanted = max(1, round(share * len(source)))
            self._chosen.extend(found[place * len(found) // wanted] for place in range(wanted))
        named = ",".join(f"{kind}={share:.6f}" for kind, share in sorted(mixture.items()))
        self._digest = hashlib.sha256(f"{source.digest} {named}".encode()).hexdigest()

    @property
    def digest(self) -> str:
        """SHA-256 of the source's digest and the mixture."""
        return self._digest

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> Sample:
        return self._source[self._chosen[index]]
