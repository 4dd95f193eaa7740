"""Have the packages of other tools read what Arno exports: `python -m benchmarks.readers`.

Each package stands in an environment of its own: their dependencies exclude one another and Arno's.
"""
