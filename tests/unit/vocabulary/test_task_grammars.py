"""Which answers are well-formed, told by regular expressions that know nothing of the automata."""

from __future__ import annotations

import random
import re

import pytest
from arno.vocabulary import CATALOGUE, ExtraInput, Task
from arno.vocabulary.grammar import DONE, START, Grammar, Symbol, symbol_of
from arno.vocabulary.task_grammars import Constraint, grammar_of
from hypothesis import given
from hypothesis import strategies as st
from unit.vocabulary.spelling import VOCABULARY, quick, spell

LETTERS = {
    Symbol.WORD: "w",
    Symbol.BLANK: "b",
    Symbol.LOCATION: "l",
    Symbol.POLYGON_START: "<",
    Symbol.POLYGON_END: ">",
    Symbol.SEPARATOR: "s",
    Symbol.END: ".",
}
LABEL, BOX, OUTLINE = "w[wb]*", "l{4}", "l{6}(ll)*"
MASK = f"{OUTLINE}(s{OUTLINE})*"
WELL_FORMED = {
    Task.OD: f"({LABEL}({BOX})+)*",
    Task.DENSE_REGION_CAPTION: f"({LABEL}({BOX})+)*",
    Task.CAPTION_TO_PHRASE_GROUNDING: f"({LABEL}({BOX})+)*",
    Task.REGION_PROPOSAL: f"({BOX})*",
    Task.OCR_WITH_REGION: f"({LABEL}l{{8}})*",
    Task.OPEN_VOCABULARY_DETECTION: f"({LABEL}(({BOX})+|(<{MASK}>)+))*",
    Task.REFERRING_EXPRESSION_SEGMENTATION: f"({MASK})?|(<{MASK}>)*",
    Task.REGION_TO_SEGMENTATION: f"({MASK})?|(<{MASK}>)*",
    Task.PROMPT: f"([wb]|{BOX}|<{MASK}>)*",
}
for _task in Task:
    about = CATALOGUE[_task].extra_input is ExtraInput.REGION
    WELL_FORMED.setdefault(_task, f"[wb]*({BOX})?" if about else "[wb]*")

rows = st.lists(st.sampled_from([symbol for symbol in Symbol if symbol is not Symbol.END]))


def letters(symbols) -> str:
    return "".join(LETTERS[symbol] for symbol in symbols)


def wander(grammar: Grammar, chance: random.Random, length: int) -> list[Symbol | int]:
    """Walk at random, and home when there is only just time for it."""
    distances = grammar.distances(frozenset(Symbol))
    state, walked = START, []
    while state != DONE:
        left = length - len(walked)
        steps = [s for s, to in grammar.steps[state].items() if distances[to] <= left - 1]
        step = chance.choice(steps)
        walked.append(step)
        state = grammar.steps[state][step]
    return walked


@pytest.mark.parametrize("task", Task)
@quick
@given(row=rows)
def test_what_is_not_well_formed_is_not_accepted(task, row):
    accepted = grammar_of(task).accepts([*row, Symbol.END])
    assert accepted == bool(re.fullmatch(WELL_FORMED[task], letters(row)))


@pytest.mark.parametrize("task", Task)
@quick
@given(seed=st.integers(0, 10**6), length=st.integers(1, 60))
def test_every_walk_through_a_grammar_is_well_formed_and_ends_in_time(task, seed, length):
    walked = wander(grammar_of(task), random.Random(seed), length)
    assert len(walked) <= length
    assert re.fullmatch(f"({WELL_FORMED[task]})[.]", letters(walked))


LABELS = ([5], [5, 6, 7], [8, 9])


@quick
@given(seed=st.integers(0, 10**6))
def test_labels_are_spelled_from_the_list_alone(seed):
    grammar = grammar_of(Task.OPEN_VOCABULARY_DETECTION, LABELS)
    walked = wander(grammar, random.Random(seed), 60)
    spelled = "".join(f"{step}," if type(step) is int else "|" for step in walked)
    labels = {part for part in spelled.split("|") if part}
    assert labels <= {"5,", "5,6,7,", "8,9,"}


def test_without_a_label_that_can_be_spelled_there_is_nothing_to_say():
    assert wander(grammar_of(Task.OD, ()), random.Random(1), 60) == [Symbol.END]


def test_a_marker_that_the_vocabulary_lacks_is_no_way_home():
    grammar = grammar_of(Task.OPEN_VOCABULARY_DETECTION)
    without = grammar.distances(frozenset(Symbol) - {Symbol.POLYGON_END})
    inside = grammar.steps[grammar.steps[START][Symbol.WORD]][Symbol.POLYGON_START]
    assert without[inside] == float("inf")
    assert without[START] == 1.0


def test_classes_are_labels_of_the_tasks_that_take_them_alone():
    assert Constraint(Task.OPEN_VOCABULARY_DETECTION, (" a car ", "bus", "bus")).spellings == (
        "a car",
        " a car",
        "bus",
        " bus",
    )
    assert Constraint(Task.OPEN_VOCABULARY_DETECTION).spellings is None
    assert Constraint(Task.OD, ("car",)).spellings is None


def test_tokens_are_told_by_what_they_are():
    symbols = [symbol_of(VOCABULARY, token) for token in spell("<s>a <loc_7><poly><sep></poly>")]
    assert symbols == [
        None,
        Symbol.WORD,
        Symbol.BLANK,
        Symbol.LOCATION,
        Symbol.POLYGON_START,
        Symbol.SEPARATOR,
        Symbol.POLYGON_END,
    ]
    assert symbol_of(VOCABULARY, spell("<and>")[0]) is None
    assert symbol_of(VOCABULARY, 10**6) is None
