"""Samples to train and to judge a model with: their form, and the files they come from."""

from arno.training.data.open_data import open_data
from arno.training.data.source import Sample, SampleSource

__all__ = ["Sample", "SampleSource", "open_data"]
