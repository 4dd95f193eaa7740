"""Samples for training and evaluation, and the files that they are read from."""

from arno.training.data.open_data import open_data
from arno.training.data.source import Sample, SampleSource

__all__ = ["Sample", "SampleSource", "open_data"]
