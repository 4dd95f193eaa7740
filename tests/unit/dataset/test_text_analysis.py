"""What the figures of a text are, in sentences whose tree is known."""

from __future__ import annotations

import numpy as np
import pytest
from arno.dataset.text_analysis import (
    PartsOfSpeech,
    TextAnalyser,
    find_spacy_model,
    load_language,
)
from arno.errors import MissingExtraError
from support.spacy_model import spacy_analyser


def row(analyser: TextAnalyser, text: str) -> dict[str, float]:
    figures = analyser.analyse([text])
    return {name: getattr(figures, name)[0].item() for name in figures.__slots__}


@pytest.fixture(scope="module")
def analyser():
    return spacy_analyser()


def test_objects_attributes_and_actions_are_counted(analyser):
    found = row(analyser, "A small red car is driving next to two cats sitting on a green bench.")
    assert found["objects"] == 3
    assert found["attributes"] == 3
    assert found["actions"] == 2  # "is" is an auxiliary
    assert found["tokens"] == 15  # without the full stop
    # car: a, small, red, driving; cats: two, sitting, to; bench: a, green, on
    assert found["object_complexity_max"] == 4
    assert found["object_complexity"] == pytest.approx((4 + 3 + 3) / 3)


def test_complexity_is_the_degree_in_the_undirected_tree(analyser):
    # runs: dog, fast, the full stop; it is the root and has no head
    found = row(analyser, "The dog runs fast.")
    assert found["action_complexity_max"] == 3
    assert found["object_complexity_max"] == 2  # the, runs


def test_text_without_words_has_zeros(analyser):
    for words in ("", "...", "7"):
        found = row(analyser, words)
        assert found["objects"] == found["actions"] == found["action_complexity_max"] == 0
        assert found["distinct"] == 1


def test_loop_has_few_distinct_tokens(analyser):
    assert row(analyser, "a cat and " * 40)["distinct"] < 0.05
    assert row(analyser, "A red car on a street.")["distinct"] > 0.8


def test_batches_do_not_change_figures(analyser):
    texts = ["A cat.", "", "Two dogs play with a ball in a garden.", "A red bus."] * 100
    together = analyser.analyse(texts)
    for name in together.__slots__:
        alone = [getattr(analyser.analyse([text]), name)[0] for text in texts[:4]]
        np.testing.assert_array_equal(getattr(together, name), alone * 100)


def test_no_text_is_no_figure(analyser):
    assert len(analyser.analyse([])) == 0


def test_missing_model_is_asked_for_with_the_command_that_brings_it():
    with pytest.raises(MissingExtraError, match="python -m spacy download xx_no_such_model"):
        find_spacy_model("xx_no_such_model")


def test_remembered_parts_of_speech_are_those_of_the_pipeline(analyser):
    language = load_language(find_spacy_model("en_core_web_sm"))
    parts = PartsOfSpeech(language)
    assert parts.disabled == ["attribute_ruler"]
    texts = [
        "A small red car is driving next to two cats sitting on a green bench.",
        "There is a cat that was sleeping, but it didn't have to.",
        "The man who is riding had been there; something fell.",
        "He does what he has to do and they've done it, if that matters.",
        "",
        "  two   dogs\n run ",
    ]
    wanted = [[token.pos for token in doc] for doc in language.pipe(texts)]
    for _ in range(2):  # first by the rules, then from memory
        docs = language.pipe(texts, disable=parts.disabled)
        assert [parts(doc).tolist() for doc in docs] == wanted
