"""Measure Arno against what else serves Florence-2: same checkpoint, options, inputs and machine.

`python -m benchmarks --help` says what can be measured. Every result is a JSON file in `results/`;
`docs/benchmarks.md` is written from these files alone.
"""

import sys
from pathlib import Path

# The real servers of tests/support are also those of the measurements of whole processes.
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
