"""What token ids mean, and how text is made of them."""

import pytest
from arno.vocabulary import Decoded, Task, TokenTable, parse
from hypothesis import given
from hypothesis import strategies as st
from unit.vocabulary.spelling import FIRST_LOCATION, MARKER_IDS, THOUSAND, VOCABULARY, quick, spell

ADDED = ["<s>", "<pad>", "</s>", *(f"<loc_{i}>" for i in range(1000)), "<poly>", "caf\u00e9"]


def byte_level(**changes: int | None) -> TokenTable:
    token_ids = {
        token: index for index, token in enumerate(["\u0120car", "\u00c3", "\u00a9", *ADDED])
    }
    for token, token_id in changes.items():
        if token_id is None:
            del token_ids[token]
        else:
            token_ids[token] = token_id
    return TokenTable.from_byte_level(token_ids, added_tokens=ADDED, special_ids=[3, 4, 5])


@quick
@given(st.text())
def test_text_survives_tokens_that_cut_its_characters(text):
    ids = [3 + byte for byte in text.encode(errors="replace")]
    assert VOCABULARY.decode(ids) == text.encode(errors="replace").decode()


def test_stand_in_characters_become_the_bytes_they_stand_for():
    token_table = byte_level()
    assert token_table.decode([0, 1, 2]) == " car\u00e9"


def test_an_added_token_is_its_own_name_even_with_stand_in_characters():
    token_table = byte_level()
    assert token_table.pieces[-1] == "caf\u00e9".encode()
    assert token_table.marker(len(token_table.pieces) - 2) == "<poly>"


def test_every_byte_has_exactly_one_stand_in():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = [chr(code) for code in [*printable, *range(0x100, 0x144)]]
    token_ids = {character: index for index, character in enumerate(alphabet)}
    added = [f"<loc_{i}>" for i in range(1000)]
    token_ids |= {name: 256 + index for index, name in enumerate(added)}
    pieces = TokenTable.from_byte_level(token_ids, added_tokens=added, special_ids=[]).pieces
    assert sorted(pieces[:256]) == [bytes([byte]) for byte in range(256)]


@pytest.mark.parametrize("token_id", [None, 5000], ids=["missing", "out of line"])
@pytest.mark.parametrize("token", ["<loc_0>", "<loc_500>", "<loc_999>"])
def test_a_tokenizer_without_a_whole_block_of_locations_is_refused(token, token_id):
    with pytest.raises(ValueError, match="<loc_0> to <loc_999>"):
        byte_level(**{token: token_id})


def test_only_the_thousand_location_tokens_have_a_bin():
    assert VOCABULARY.location_bin(FIRST_LOCATION - 1) is None
    assert VOCABULARY.location_bin(FIRST_LOCATION) == 0
    assert VOCABULARY.location_bin(FIRST_LOCATION + 999) == 999
    assert VOCABULARY.location_bin(FIRST_LOCATION + 1000) is None


def test_begin_end_and_padding_are_special_and_markers_are_not():
    assert all(map(VOCABULARY.is_special, (0, 1, 2)))
    assert not any(map(VOCABULARY.is_special, (3, FIRST_LOCATION, *MARKER_IDS.values())))


@pytest.mark.parametrize("token_id", [-1, len(VOCABULARY.pieces), 10**9])
def test_ids_that_no_token_has_are_nothing(token_id):
    assert VOCABULARY.is_special(token_id)
    assert VOCABULARY.marker(token_id) is None
    assert VOCABULARY.decode([token_id]) == ""
    ids = [*spell("ca"), token_id, *spell("r")]
    assert parse(Task.OCR, Decoded(ids), VOCABULARY, THOUSAND).raw_text == "car"


def test_log_probabilities_of_other_tokens_are_refused():
    with pytest.raises(ValueError, match="1 log-probs for 2 tokens"):
        Decoded([1, 2], [0.0])
