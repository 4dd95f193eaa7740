"""Measure Arno against what else serves Florence-2: same checkpoint, options, inputs and machine.

`python -m benchmarks --help` says what can be measured. Every result is a JSON file in `results/`;
`docs/benchmarks.md` is written from these files alone.
"""
