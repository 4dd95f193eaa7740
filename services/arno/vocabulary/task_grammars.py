"""The well-formed answers of each task: what `parse` reads without leaving anything out.

In the notation of regular expressions, with `box` for four locations, `quad` for eight, and
`outline` for three points or more:

- captions, OCR: `text`; about a region: `text box?`
- OD, dense captions, grounding: `(label box+)*`; proposals: `box*`; OCR places: `(label quad)*`
- open vocabulary detection: `(label (box+ | fenced+))*`
- segmentation: `mask | fenced*`; a mask is `outline (<sep> outline)*`, fenced `<poly> mask </poly>`
- prompts: text with boxes and fenced masks anywhere
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from arno.vocabulary.catalogue import CATALOGUE, AnswerKind, ExtraInput
from arno.vocabulary.grammar import DONE, START, Draft, Grammar, Step, Symbol
from arno.vocabulary.locations import BOX_BINS, POLYGON_BINS_MIN, QUAD_BINS
from arno.vocabulary.task import Task

_LOCATION: Final = Symbol.LOCATION
_TEXT: Final = (Symbol.WORD, Symbol.BLANK)


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer is held to.

    Attributes:
        task: It is well-formed for this task.
        classes: Its labels are among these, where the task takes classes and there are any.
    """

    task: Task
    classes: tuple[str, ...] = ()

    @property
    def spellings(self) -> tuple[str, ...] | None:
        """The labels that it may have; None if they are free.

        A label may stand behind a space: the parsers strip it.
        """
        takes_classes = CATALOGUE[self.task].extra_input is ExtraInput.TEXT_OR_CLASSES
        if not self.classes or not takes_classes:
            return None
        names = dict.fromkeys(name.strip() for name in self.classes)
        return tuple(before + name for name in names for before in ("", " "))


def grammar_of(task: Task, labels: Iterable[Sequence[int]] | None = None) -> Grammar:
    """Return the grammar of a task's answers.

    Args:
        task: The task.
        labels: The token ids of every label that is allowed; None allows any text.
    """
    draft = Draft()
    draft.allow(START, Symbol.END, DONE)
    spelled = None if labels is None else [tuple(label) for label in labels if label]
    match CATALOGUE[task].answer_kind:
        case AnswerKind.TEXT if task is Task.PROMPT:
            _anything(draft)
        case AnswerKind.TEXT:
            _text(draft, about_region=CATALOGUE[task].extra_input is ExtraInput.REGION)
        case AnswerKind.DETECTION if task is Task.REGION_PROPOSAL:
            draft.row(START, [_LOCATION] * BOX_BINS, START)
        case AnswerKind.DETECTION:
            fenced = task is Task.OPEN_VOCABULARY_DETECTION
            _Labelled(draft, spelled).boxes(fenced=fenced)
        case AnswerKind.GROUNDING:
            _Labelled(draft, spelled).boxes()
        case AnswerKind.OCR:
            _Labelled(draft, spelled).quads()
        case AnswerKind.SEGMENTATION:
            _masks(draft)
    return draft.finish()


def _text(draft: Draft, *, about_region: bool) -> None:
    for step in _TEXT:
        draft.allow(START, step, START)
    if about_region:  # the model repeats where it was asked to look
        whole = draft.state()
        draft.row(START, [_LOCATION] * BOX_BINS, whole)
        draft.allow(whole, Symbol.END, DONE)


def _anything(draft: Draft) -> None:
    _text(draft, about_region=False)
    draft.row(START, [_LOCATION] * BOX_BINS, START)
    _fence(draft, START, START)


def _masks(draft: Draft) -> None:
    _outlines(draft, START, Symbol.END, DONE)
    again = draft.state()
    _fence(draft, START, again)
    _fence(draft, again, again)
    draft.allow(again, Symbol.END, DONE)


def _fence(draft: Draft, source: int, target: int) -> None:
    """Allow a fenced mask."""
    _outlines(draft, draft.follow(source, Symbol.POLYGON_START), Symbol.POLYGON_END, target)


def _outlines(draft: Draft, source: int, last: Symbol, target: int) -> None:
    """Allow outlines from a state on, and behind them the last step."""
    whole = draft.state()
    draft.row(source, [_LOCATION] * POLYGON_BINS_MIN, whole)
    draft.row(whole, [_LOCATION] * 2, whole)
    draft.row(whole, [Symbol.SEPARATOR] + [_LOCATION] * POLYGON_BINS_MIN, whole)
    draft.allow(whole, last, target)


class _Labelled:
    """Labels, and the places of each behind it."""

    def __init__(self, draft: Draft, labels: Sequence[Sequence[int]] | None) -> None:
        """Draft the labels: any text if None."""
        self._draft = draft
        if labels is None:
            word = draft.follow(START, Symbol.WORD)
            for step in _TEXT:
                draft.allow(word, step, word)
            self._named: set[int] = {word}
            self._firsts: set[Step] = {Symbol.WORD}
        else:
            self._named = {self._spell(label) for label in labels}
            self._firsts = {label[0] for label in labels}

    def quads(self) -> None:
        """One quad box for each."""
        self._draft.row(self._enter(_LOCATION), [_LOCATION] * (QUAD_BINS - 1), START)

    def boxes(self, *, fenced: bool = False) -> None:
        """One box or more for each, or one fenced mask or more."""
        behind = self._behind()
        self._draft.row(self._enter(_LOCATION, behind), [_LOCATION] * (BOX_BINS - 1), behind)
        if fenced:
            behind = self._behind()
            inside = self._enter(Symbol.POLYGON_START, behind)
            _outlines(self._draft, inside, Symbol.POLYGON_END, behind)

    def _enter(self, step: Symbol, *others: int) -> int:
        """Return the state behind a step that is allowed behind every label, and in others."""
        state = self._draft.state()
        for source in (*self._named, *others):
            self._draft.allow(source, step, state)
        return state

    def _behind(self) -> int:
        """Return a state in which a label may begin, or the answer end."""
        state = self._draft.state()
        self._draft.allow(state, Symbol.END, DONE)
        for first in self._firsts:
            self._draft.allow(state, first, self._draft.follow(START, first))
        return state

    def _spell(self, label: Sequence[int]) -> int:
        state = START
        for token_id in label:
            state = self._draft.follow(state, token_id)
        return state
