"""What a text says, in numbers: objects, attributes, actions and how they hang together.

By spaCy's part of speech and dependency, as Florence-2's paper does it (arXiv:2311.06242, section
4.1 and table 3). The complexity of a token is its degree in the dependency tree, taken as an
undirected graph: its children and its head. The paper does not say how the tokens of a text are
combined; here the mean is for statistics and the largest for filters, as DiHT filters captions
(Radenovic et al. 2023, arXiv:2301.02280).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from arno.errors import MissingExtraError

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

DEFAULT_MODEL: Final = "en_core_web_sm"
_NEEDLESS: Final = ("ner", "lemmatizer", "senter")
"""Parts of spaCy's pipeline that no figure needs."""
_RULER: Final = "attribute_ruler"
_LOOKED_AT: Final = frozenset({"TAG", "DEP", "LOWER", "IS_SPACE"})
_KINDS_MAX: Final = 200_000
"""Kinds of tokens that are remembered; words are without end."""
_BATCH_TEXTS: Final = 256
_MEANS: Final = 3
"""Of the columns, the last are means."""
_ATTRIBUTE_DEPENDENCIES: Final = ("amod", "acomp")

Counts = npt.NDArray[np.int32]
Means = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TextFigures:
    """Figures of N texts, one column each.

    Attributes:
        tokens: Tokens but for punctuation and space. [N]
        objects: Common nouns. [N]
        attributes: Adjectives, and what else modifies a noun as one. [N]
        actions: Verbs but for auxiliaries. [N]
        proper_nouns: Names. [N]
        object_complexity_max: The largest degree of an object; 0 without any. [N]
        action_complexity_max: The same of an action. [N]
        object_complexity: The mean degree of the objects; 0 without any. [N]
        action_complexity: The same of the actions. [N]
        distinct: Part of the tokens that are different, 0..1: low where a model repeats itself. [N]
    """

    tokens: Counts
    objects: Counts
    attributes: Counts
    actions: Counts
    proper_nouns: Counts
    object_complexity_max: Counts
    action_complexity_max: Counts
    object_complexity: Means
    action_complexity: Means
    distinct: Means

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def of(cls, rows: Sequence[Sequence[float]]) -> Self:
        """Return the figures of rows, each in the order of the columns."""
        columns: Any = np.array(rows, dtype=np.float32).reshape(-1, len(fields(cls))).T
        counts = len(fields(cls)) - _MEANS
        return cls(*columns[:counts].astype(np.int32), *columns[counts:])


class TextAnalyser:
    """Computes figures of texts."""

    def __init__(self, model: str) -> None:
        """Load the model.

        Raises:
            MissingExtraError: spaCy or the model is not installed.
        """
        self._language = load_language(find_spacy_model(model))

    def analyse(self, texts: Sequence[str]) -> TextFigures:
        """Return the figures of texts."""
        return TextFigures.of(_rows(self._language, texts))


class NounChunks:
    """Finds the noun chunks of texts: "a red car", "two cats"; none that is a pronoun."""

    def __init__(self, model: str = DEFAULT_MODEL) -> None:
        """Load the model.

        Raises:
            MissingExtraError: spaCy or the model is not installed.
        """
        self._language = load_language(find_spacy_model(model))

    def __call__(self, text: str) -> list[str]:
        """Return the chunks of a text, in order."""
        return [
            chunk.text for chunk in self._language(text).noun_chunks if chunk.root.pos_ != "PRON"
        ]


def find_spacy_model(name: str) -> str:
    """Return the installed package of a spaCy model: of this name, or of a name that extends it.

    Raises:
        MissingExtraError: spaCy or the model is not installed.
    """
    try:
        from spacy.util import get_installed_models
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "the figures of texts need spaCy: pip install 'arno[data]'", extra="data"
        ) from error
    installed = sorted(get_installed_models())
    found = [one for one in installed if one == name or one.startswith(f"{name}_")]
    if not found:
        there = f"; installed: {', '.join(installed)}" if installed else ""
        raise MissingExtraError(
            f"the figures of texts need spaCy's model {name}, which is not installed: "
            f"python -m spacy download {name}{there}",
            extra="data",
        )
    return found[0]


@functools.lru_cache(maxsize=1)
def load_language(model: str) -> Language:
    """Return a spaCy pipeline with tagger and parser."""
    import spacy

    return spacy.load(model, exclude=list(_NEEDLESS))


def _rows(language: Language, texts: Sequence[str]) -> list[list[float]]:
    parts = _parts_of(language)
    docs = language.pipe(texts, batch_size=_BATCH_TEXTS, disable=parts.disabled)
    return [_row(doc, parts(doc)) for doc in docs]


def _row(doc: Doc, part: npt.NDArray[np.int64]) -> list[float]:
    from spacy import symbols

    if not len(doc):
        return [0.0] * (len(fields(TextFigures)) - 1) + [1.0]
    values = _columns(doc)
    dependency, words = values[:, 0], values[:, 2]
    heads = np.arange(len(doc)) + values[:, 1]
    inner = heads != np.arange(len(doc))  # the root is its own head
    degree = np.bincount(heads[inner], minlength=len(doc)) + inner  # [tokens]
    spoken = (part != symbols.PUNCT) & (part != symbols.SPACE)
    objects = part == symbols.NOUN
    actions = part == symbols.VERB
    modifying = np.isin(dependency, _dependencies(doc))
    attributes = (part == symbols.ADJ) | (modifying & ~objects & ~actions)
    count = int(spoken.sum())
    return [
        count,
        int(objects.sum()),
        int(attributes.sum()),
        int(actions.sum()),
        int((part == symbols.PROPN).sum()),
        int(degree[objects].max(initial=0)),
        int(degree[actions].max(initial=0)),
        float(degree[objects].mean()) if objects.any() else 0.0,
        float(degree[actions].mean()) if actions.any() else 0.0,
        len(np.unique(words[spoken])) / count if count else 1.0,
    ]


class PartsOfSpeech:
    """Parts of speech by the rules of a pipeline, each kind of token judged once.

    spaCy's English pipelines derive parts of speech from tags by some 200 patterns, and spend 40 %
    of the time of a text on matching them. Where all of these patterns look at the tag, the
    dependency and the word of a token, and at the dependency of the one before it, what they once
    said of such a token holds for all of its kind; other pipelines match their patterns.
    """

    def __init__(self, language: Language) -> None:
        """Look at the patterns of the pipeline."""
        self._ruler: Any = None
        if _RULER in language.pipe_names:
            ruler: Any = language.get_pipe(_RULER)
            if all(_is_simple(rule) for rule in ruler.patterns if "POS" in rule["attrs"]):
                self._ruler = ruler
        self.disabled = [] if self._ruler is None else [_RULER]
        self._known: dict[tuple[int, ...], int] = {}

    def __call__(self, doc: Doc) -> npt.NDArray[np.int64]:
        """Return the part of speech of each token. [tokens]."""
        from spacy import attrs

        pos: Any = attrs.POS
        if self._ruler is None:
            return doc.to_array([pos]).astype(np.int64).reshape(-1)
        wanted: list[Any] = [attrs.TAG, attrs.DEP, attrs.LOWER]
        columns: Any = doc.to_array(wanted)
        kinds: list[list[int]] = columns.reshape(len(doc), len(wanted)).tolist()
        before: list[int] = [0, *(kind[1] for kind in kinds)]
        keys: list[tuple[int, ...]] = [
            (*kind, last) for kind, last in zip(kinds, before, strict=False)
        ]
        if not all(key in self._known for key in keys):
            found = self._ruler(doc).to_array([pos]).astype(np.int64).reshape(-1)
            if len(self._known) > _KINDS_MAX:
                self._known.clear()
            self._known.update(zip(keys, found.tolist(), strict=True))
        return np.array([self._known[key] for key in keys], np.int64)


def _is_simple(rule: Mapping[str, Any]) -> bool:
    """Whether a rule looks at one token, and at no more than the dependency of that before it."""
    return all(
        rule["index"] in {-1, len(tokens) - 1}
        and set(tokens[-1]) <= _LOOKED_AT
        and (len(tokens) == 1 or (len(tokens) == 2 and set(tokens[0]) == {"DEP"}))
        for tokens in rule["patterns"]
    )


@functools.lru_cache(maxsize=1)
def _parts_of(language: Language) -> PartsOfSpeech:
    return PartsOfSpeech(language)


def _columns(doc: Doc) -> npt.NDArray[np.int64]:
    """Return dependency, distance to the head and lower-case word. [tokens, 3]."""
    from spacy import attrs

    wanted: list[Any] = [attrs.DEP, attrs.HEAD, attrs.LOWER]
    # Distances to heads on the left are negative numbers that spaCy shows without a sign.
    return doc.to_array(wanted).astype(np.uint64).view(np.int64)


def _dependencies(doc: Doc) -> list[int]:
    strings = doc.vocab.strings
    return [int(np.uint64(strings[name]).astype(np.int64)) for name in _ATTRIBUTE_DEPENDENCIES]
