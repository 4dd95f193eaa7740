"""Refine a data set in rounds: train on it, annotate its images again, merge, filter, measure.

`settings` are those of a run, `rounds` the steps of a round, `state` what is done, `report` its
pages, and `run` goes from round to round.
"""
