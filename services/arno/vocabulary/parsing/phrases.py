"""Read the phrases of a caption and their boxes.

Stands alone: one form of answer a file, and parse.py only chooses among them.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from arno.vocabulary.answers import GroundedPhrase
from arno.vocabulary.parsing.blocks import Block
from arno.vocabulary.parsing.regions import read_labelled_boxes
from arno.vocabulary.regions import ImageSize, Region

_EMPTY_WORDS: Final = """
    it I me mine you your yours he him his she her hers they them their theirs one oneself we us our
    ours its myself yourself himself herself itself ourselves yourselves themselves this that these
    those who whom whose which what all another any anybody anyone anything each everybody everyone
    everything few many nobody none several some somebody someone something image images the a an
    lots
"""
EMPTY_PHRASES: Final = frozenset(_EMPTY_WORDS.split()) | {
    "each other",
    "one another",
    "the image",
    "a group",
    "other objects",
    "a set",
}
"""Phrases that name nothing, for which the model still writes a box: left out.

Source: `banned_grounding_tokens` of the published Florence-2 processors.
"""


def read_phrases(
    blocks: Iterable[Block], size: ImageSize, classes: Sequence[str]
) -> tuple[GroundedPhrase, ...]:
    """Return each phrase once, in the order of first mention, with all its boxes.

    Args:
        blocks: The answer.
        size: The size of the image.
        classes: What was asked for, if classes were; the phrases say whether they are among them.
    """
    boxes: dict[str, list[Region]] = {}
    for block in blocks:
        for region in read_labelled_boxes(block, size):
            boxes.setdefault(region.label, []).append(region)
    asked = {_plain(name) for name in classes}
    return tuple(
        GroundedPhrase(phrase, tuple(regions), matched=not asked or _plain(phrase) in asked)
        for phrase, regions in boxes.items()
        if phrase not in EMPTY_PHRASES
    )


def _plain(name: str) -> str:
    """Return a name without the differences that do not matter: case and spaces."""
    return " ".join(name.casefold().split())
