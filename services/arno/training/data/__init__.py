"""Samples to train and to judge a model with: their form, and the files they come from."""

from arno.training.data.sample import Sample

__all__ = ["Sample"]
