"""Several sources, one after the other.

Stands alone: a source like every other, and open_data only chooses among them.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections.abc import Sequence

from arno.training.data.sample import Sample
from arno.training.data.source import SampleSource


class JoinedSources(SampleSource):
    """The samples of several sources as one sequence."""

    def __init__(self, sources: Sequence[SampleSource]) -> None:
        """Join sources, at least one."""
        self._sources = tuple(sources)
        self._ends = list(itertools.accumulate(map(len, self._sources)))

    @property
    def digest(self) -> str:
        """SHA-256 of the sources' digests."""
        digests = " ".join(source.digest for source in self._sources)
        return hashlib.sha256(digests.encode()).hexdigest()

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"there is no sample {index} of {len(self)}")
        which = bisect.bisect_right(self._ends, index)
        start = self._ends[which - 1] if which else 0
        return self._sources[which][index - start]
