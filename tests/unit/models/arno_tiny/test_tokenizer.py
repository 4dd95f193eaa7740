"""The tokenizer writes any text, and places what Florence-2 expects where it expects it."""

from __future__ import annotations

import pytest
from arno.training.data.world import samples
from arno.training.world import CATEGORIES, Split
from arno.vocabulary import BIN_COUNT, CATALOGUE, Task, encode
from hypothesis import given, settings
from hypothesis import strategies as st

from models.arno_tiny.tokenizer import build_tokenizer, language

TOKENIZER = build_tokenizer()


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_unchanged(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False, split_special_tokens=True).input_ids
    assert TOKENIZER.decode(ids) == text


def test_the_first_ids_are_those_of_bart() -> None:
    assert TOKENIZER.convert_ids_to_tokens([0, 1, 2, 3]) == ["<s>", "<pad>", "</s>", "<unk>"]


def test_locations_are_one_block() -> None:
    vocabulary = TOKENIZER.get_vocab()
    first = vocabulary["<loc_0>"]
    assert [vocabulary[f"<loc_{index}>"] for index in range(BIN_COUNT)] == list(
        range(first, first + BIN_COUNT)
    )


@pytest.mark.parametrize("category", CATEGORIES, ids=lambda category: category.label)
def test_a_label_is_one_token_alone_and_after_a_space(category: object) -> None:
    for text in (category.label, f" {category.label}"):
        assert len(TOKENIZER(text, add_special_tokens=False).input_ids) == 1


def test_answers_are_made_of_whole_words() -> None:
    reading = {Task.OCR, Task.OCR_WITH_REGION, Task.REGION_TO_OCR, Task.MORE_DETAILED_CAPTION}
    tasks = tuple(task for task in Task if task not in reading)
    words = {*language(), "is", "there"}
    words |= {word for one in CATEGORIES for word in (one.label, one.plural)}
    for index in range(30):
        for sample in samples(Split.TEST, index, tasks=tasks):
            for token in TOKENIZER.tokenize(encode(sample.answer, sample.size)):
                whole = token.removeprefix("Ġ")
                assert token.startswith("<loc_") or {whole, whole.lower()} & words, token


def test_printed_words_are_spelled_letter_by_letter() -> None:
    for word in ("STOP", "HOTEL", "48564", "QZX"):
        assert TOKENIZER.tokenize(word) == list(word)


def test_prompts_leave_room_and_hold_no_unknown_token() -> None:
    for definition in CATALOGUE.values():
        ids = TOKENIZER(definition.prompt).input_ids
        assert TOKENIZER.unk_token_id not in ids
        assert len(ids) < 64


def test_it_is_built_the_same_each_time() -> None:
    assert build_tokenizer().get_vocab() == TOKENIZER.get_vocab()
