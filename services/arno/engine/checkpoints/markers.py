"""The tokens that Florence-2 adds to BART's: where they stand, and how they are added."""

from __future__ import annotations

from typing import Final

from tokenizers import AddedToken, Tokenizer

from arno.vocabulary import BIN_COUNT

BART_SIZE: Final = 50265
"""Tokens of BART's own vocabulary, `<mask>` the last."""

_BEFORE: Final = ("<od>", "</od>", "<ocr>", "</ocr>")
_AFTER: Final = (
    *("<cap>", "</cap>", "<ncap>", "</ncap>", "<dcap>", "</dcap>"),
    *("<grounding>", "</grounding>", "<seg>", "</seg>", "<sep>"),
    *("<region_cap>", "</region_cap>", "<region_to_desciption>", "</region_to_desciption>"),
    *("<proposal>", "</proposal>", "<poly>", "</poly>", "<and>"),
)
MARKERS: Final = (*_BEFORE, *(f"<loc_{index}>" for index in range(BIN_COUNT)), *_AFTER)
"""In the order of their ids, which follow BART's: 50265 to 51288.

Source: the `Florence2Processor` of the first releases, which added them each time it was made.
"""

IMAGE_TOKEN: Final = "<image>"  # noqa: S105 - a token of text, not a secret
"""Only transformers' own processor needs it: its place is taken by what the image encoder saw."""


def add_markers(tokenizer: Tokenizer) -> None:
    """Add the markers that a tokenizer lacks; those that it has stay where they are."""
    _add(tokenizer, MARKERS)


def add_image_token(tokenizer: Tokenizer) -> int:
    """Add the image's token if it is not there, and return its id."""
    _add(tokenizer, (IMAGE_TOKEN,))
    return tokenizer.get_vocab()[IMAGE_TOKEN]


def _add(tokenizer: Tokenizer, names: tuple[str, ...]) -> None:
    tokens = [AddedToken(name, special=True, normalized=False) for name in names]
    tokenizer.add_special_tokens(tokens)
