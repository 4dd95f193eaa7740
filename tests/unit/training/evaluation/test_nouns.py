"""Which words name objects."""

from __future__ import annotations

from arno.training.evaluation.figures import nouns_of


def test_objects_of_the_world_are_known_in_both_numbers():
    nouns = nouns_of("photos.jsonl; world:seed=1")
    assert nouns["cat"] == nouns["cats"] == "cat"


def test_objects_of_other_data_are_not_known():
    assert nouns_of("photos.jsonl") == {}
