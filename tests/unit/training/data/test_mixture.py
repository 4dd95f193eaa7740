"""Mixing the three kinds of annotation."""

from __future__ import annotations

import collections

import pytest
from arno.errors import InvalidFieldError
from arno.training.data import open_data
from arno.training.data.mixture import Kind, MixedKinds, read_mixture
from arno.vocabulary import Task

DATA = "world:seed=1,n=12,tasks=CAPTION+OD+CAPTION_TO_PHRASE_GROUNDING,world=plain"


def test_each_kind_has_its_part():
    source = open_data(DATA)
    mixed = MixedKinds(source, read_mixture("text=1,region=2,triplet=1"))
    tasks = collections.Counter(sample.spec.task for sample in mixed)
    assert len(mixed) == len(source) == 36
    assert tasks == {Task.CAPTION: 9, Task.OD: 18, Task.CAPTION_TO_PHRASE_GROUNDING: 9}
    # All of the 12 images are there before one comes a second time.
    named = collections.Counter(one.image_id for one in mixed if one.spec.task is Task.OD)
    assert set(named.values()) <= {1, 2}
    assert len(named) == 12


def test_another_mixture_is_other_data():
    source = open_data(DATA)
    digests = {
        MixedKinds(source, read_mixture(text)).digest for text in ("text=1", "text=1,region=1")
    }
    assert len({*digests, source.digest}) == 3


def test_kind_that_the_data_lacks_is_named():
    source = open_data("world:seed=1,n=2,tasks=OD,world=plain")
    with pytest.raises(InvalidFieldError, match=r"no sample of this kind; sent: text"):
        MixedKinds(source, read_mixture("text=1,region=1"))


@pytest.mark.parametrize("text", ["texts=1", "text", "text=0", "text=nan", "region=-1"])
def test_mixture_that_makes_no_sense_is_refused(text):
    with pytest.raises(ValueError, match=r"one of text, region, triplet|above 0"):
        read_mixture(text)


def test_parts_are_relative_to_their_sum():
    assert read_mixture("text=1, region=3") == {Kind.TEXT: 0.25, Kind.REGION: 0.75}
    assert read_mixture("") == {}
