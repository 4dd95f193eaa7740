"""Every word that captions, expressions, questions and answers are made of: none printed ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from arno.training.world.backgrounds import LANDSCAPES
from arno.training.world.captions import FIXED_TEXT
from arno.training.world.colours import COLOURS, OTHER_NAMES, TINTS
from arno.training.world.descriptions import LARGE, NUMBERS, POSITIONS, RELATIONS, SMALL

_OF_QUESTIONS: Final = "VQA How many are there Which colour is Where Is there What the yes no of on"


def language() -> Iterator[str]:
    """Yield the words, each once, in an order that does not change."""
    texts = [
        "a an and , . ; ? :",
        *NUMBERS,
        *(colour.name for colour in (*COLOURS, *TINTS)),
        *OTHER_NAMES,
        *(place for row in POSITIONS for place in row),
        *RELATIONS,
        SMALL,
        LARGE,
        *(landscape.place for landscape in LANDSCAPES),
        *FIXED_TEXT,
        _OF_QUESTIONS,
    ]
    yield from dict.fromkeys(word for text in texts for word in text.split())
