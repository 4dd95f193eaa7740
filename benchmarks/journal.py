"""Record what a run of a suite has measured, so that an interrupted run can continue.

Stands alone: its test needs none of what the command line imports.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.suites import Measurement


class Journal:
    """A file with the measurements of the present run; there is none between runs."""

    def __init__(self, path: Path) -> None:
        """Open the journal of a suite; it need not exist."""
        self._path = path
        self._done: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}

    def holds(self, measurement: Measurement) -> bool:
        """Return whether exactly this was measured already."""
        return self._done.get(measurement.name) == repr(measurement)

    def note(self, measurement: Measurement) -> None:
        """Note that it was."""
        self._done[measurement.name] = repr(measurement)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._done, indent=1))

    def close(self) -> None:
        """End the run: the next one measures everything again."""
        self._done.clear()
        self._path.unlink(missing_ok=True)
