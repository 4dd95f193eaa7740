"""Captions, written from a scene's truth and therefore always right.

A caption is a sequence of pieces, of which some are phrases that name objects, so it also gives the
question and the answer of phrase grounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from arno.training.world.categories import with_article
from arno.training.world.descriptions import counted, position, size_word
from arno.training.world.scene import Scene, Thing


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words of a caption that name objects, and those objects."""

    text: str
    things: tuple[Thing, ...]


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption in pieces; its text is all pieces joined."""

    pieces: tuple[str | Phrase, ...]

    @property
    def text(self) -> str:
        """The whole sentence or sentences."""
        return "".join(piece if isinstance(piece, str) else piece.text for piece in self.pieces)

    @property
    def phrases(self) -> tuple[Phrase, ...]:
        """The phrases in the order of the text."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Phrase))


# Decoders that never repeat three tokens in a row would stumble over sentences that all begin
# alike, so no two neighbouring ones do.
_JOINTS: Final = (" next to ", ", with ", " and ")
_SENTENCES: Final = (
    ("There is ", " at the {position}", ", and it is {size}"),
    (" Near the {position} stands ", "", " of {size} size"),
    (" One also sees ", " on the {position}", ", rather {size}"),
    (" The {position} shows ", "", ", quite {size}"),
)
NOTHING: Final = "nothing"
"""What a caption says of a scene without objects."""
FIXED_TEXT: Final = (
    "background The image shows All is It reads",
    *_JOINTS,
    *(
        part.replace("{position}", "").replace("{size}", "")
        for sentence in _SENTENCES
        for part in sentence
    ),
)
"""The texts of captions that do not depend on the scene."""


def caption(scene: Scene) -> str:
    """Return the short caption's text."""
    return short_caption(scene).text


def short_caption(scene: Scene) -> Caption:
    """Return one sentence: each kind of object once, in reading order, then the background."""
    phrases = _grouped(scene.things, lambda thing: thing.category.label, _plain)
    pieces: list[str | Phrase] = [] if phrases else [NOTHING.capitalize()]
    for index, phrase in enumerate(phrases):
        if index:
            pieces.append(" and " if index == len(phrases) - 1 else ", ")
        pieces.append(phrase if index else _capital(phrase))
    return Caption((*pieces, f" {scene.background.place}."))


def detailed_caption(scene: Scene) -> Caption:
    """Return one sentence with the colour of every object."""
    pieces: list[str | Phrase] = ["The image shows ", *([] if scene.things else [NOTHING])]
    phrases = _grouped(scene.things, lambda one: f"{one.colour} {one.category.label}", _in_colour)
    for index, phrase in enumerate(phrases):
        if index:
            pieces.append(_JOINTS[(index - 1) % len(_JOINTS)])
        pieces.append(phrase)
    return Caption((*pieces, f" {scene.background.place}."))


def more_detailed_caption(scene: Scene) -> Caption:
    """Return a sentence for every object with place, colour and size, then the printed words."""
    pieces: list[str | Phrase] = []
    for index, thing in enumerate(scene.things):
        before, after, sized = _SENTENCES[index % len(_SENTENCES)]
        phrase = Phrase(with_article(f"{thing.colour} {thing.category.label}"), (thing,))
        size = size_word(thing)
        where = {"position": position(thing), "size": size}
        pieces += [before.format(**where), phrase]
        pieces.append((after + (sized if size else "")).format(**where) + ".")
    pieces.append(f"{' ' if pieces else ''}All is {scene.background.place}.")
    if scene.words:
        pieces.append(f' It reads "{" ".join(word.text for word in scene.words)}".')
    return Caption(tuple(pieces))


def _grouped(
    things: Iterable[Thing],
    kind: Callable[[Thing], str],
    named: Callable[[tuple[Thing, ...]], str],
) -> list[Phrase]:
    groups: dict[str, list[Thing]] = {}
    for thing in things:
        groups.setdefault(kind(thing), []).append(thing)
    return [Phrase(named(tuple(group)), tuple(group)) for group in groups.values()]


def _plain(group: tuple[Thing, ...]) -> str:
    category = group[0].category
    return counted(len(group), category.label, category.plural)


def _in_colour(group: tuple[Thing, ...]) -> str:
    category, colour = group[0].category, group[0].colour
    return counted(len(group), f"{colour} {category.label}", f"{colour} {category.plural}")


def _capital(phrase: Phrase) -> Phrase:
    return Phrase(phrase.text[0].upper() + phrase.text[1:], phrase.things)
