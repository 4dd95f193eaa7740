"""Build a tokenizer of the size and shape of Florence-2's, without its table.

The real one is BART's byte-level BPE of 50,265 tokens, learned from a corpus that is not here. This
one has as many tokens in the same places: the specials 0 to 3, `<mask>` at 50264, the markers from
50265, the image's token at 51289. In between are merges of our own: those that make each word of
Florence-2's prompts one token, as it nearly always is in BART, and then pairs and triples of
letters. So prompts are about as long as real ones, and ids of words mean something else.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator
from typing import Final

from tokenizers import Tokenizer, models, pre_tokenizers

from arno.engine.checkpoints.markers import BART_SIZE, add_image_token, add_markers
from arno.engine.checkpoints.older_tokenizer import finish_byte_level
from arno.vocabulary import CATALOGUE

_SPECIALS: Final = ("<s>", "<pad>", "</s>", "<unk>")
_SPACE: Final = "\u0120"
"""How byte-level BPE writes a space."""


def build_tokenizer() -> Tokenizer:
    """Return the tokenizer with all markers: 51,290 tokens, the same each time."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    known = [*_SPECIALS, *alphabet]
    merges: list[tuple[str, str]] = []
    seen = set(known)
    for left, right in _merges():
        if len(known) == BART_SIZE - 1:
            break
        if left + right not in seen:
            seen.add(left + right)
            known.append(left + right)
            merges.append((left, right))
    known.append("<mask>")
    vocabulary = {name: token_id for token_id, name in enumerate(known)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))  # noqa: S106
    finish_byte_level(tokenizer)
    add_markers(tokenizer)
    add_image_token(tokenizer)
    return tokenizer


def _merges() -> Iterator[tuple[str, str]]:
    for word in _words():
        for end in range(1, len(word)):
            yield word[:end], word[end]
    pieces = string.ascii_lowercase
    starts = [_SPACE, *string.ascii_uppercase, *string.ascii_lowercase]
    yield from itertools.product(starts, pieces)
    pairs = ["".join(pair) for pair in itertools.product(starts, pieces)]
    yield from itertools.product(pairs, pieces)
    # More than enough of these to come to the size.
    for pair, letter in itertools.product(itertools.product(pieces, pieces), pieces):
        yield _SPACE + "".join(pair), letter


def _words() -> list[str]:
    """Return the words of the prompts: those after a space first, so that none is torn apart."""
    words = {
        (_SPACE if index else "") + word.rstrip("?,.:")
        for definition in CATALOGUE.values()
        for index, word in enumerate(definition.prompt.replace("{input}", "").split())
    }
    return sorted(words, key=lambda word: (not word.startswith(_SPACE), word))
