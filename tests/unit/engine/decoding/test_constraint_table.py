"""Whatever the model would say, a constrained search finds a well-formed answer."""

from __future__ import annotations

import pytest
from arno.vocabulary import Task
from arno.vocabulary.grammar import Symbol, symbol_of
from arno.vocabulary.task_grammars import grammar_of
from hypothesis import given
from hypothesis import strategies as st
from unit.vocabulary.spelling import VOCABULARY, quick, spell

torch = pytest.importorskip("torch")

from arno.engine.decoding.beam_table import OPENING, BeamTable  # noqa: E402
from arno.engine.decoding.constraint_table import ConstraintTable, TokenKinds  # noqa: E402
from arno.engine.interface import DecodingOptions  # noqa: E402

END = 2
SIZE = len(VOCABULARY.pieces) + 5  # output matrices are often padded
KINDS = TokenKinds(VOCABULARY, SIZE, torch.device("cpu"))
LABELS = [spell("car"), spell("cart"), spell(" bus")]


def search(task, limit, labels, options, make_logits):
    """Run one search in the middle of a table, and return what it found."""
    table = BeamTable(
        options, 3, limit + 2, torch.device("cpu"), ConstraintTable(KINDS, 3, options.num_beams)
    )
    grammar = grammar_of(task, labels)
    table.open(2, [limit + 1], [grammar])
    table.move([2], [1])
    for length in range(len(OPENING), limit + 1):
        advance = table.update(slice(1, 2), make_logits(), length)
        if bool(advance.finished[0]):
            return table.best([1], [length + 1])[0], grammar
    raise AssertionError("it went past its limit")


def steps_of(token_ids, grammar):
    """Name tokens as the grammar does: some tasks know no labels, whatever is asked."""
    spelled = {step for row in grammar.steps for step in row if not isinstance(step, Symbol)}
    for token in token_ids:
        if token == END:
            yield Symbol.END
        elif token in spelled:
            yield token
        else:
            yield symbol_of(VOCABULARY, token)


@quick
@given(
    task=st.sampled_from(Task),
    limit=st.integers(2, 24),
    labels=st.sampled_from([None, LABELS]),
    options=st.builds(
        DecodingOptions,
        num_beams=st.integers(1, 4),
        no_repeat_ngram_size=st.sampled_from([0, 2, 3]),
        early_stopping=st.sampled_from([True, False, "never"]),
    ),
    scale=st.sampled_from([0.0, 1.0, 1e4]),
    seed=st.integers(0, 10**6),
)
def test_any_logits_give_a_well_formed_answer(*, task, limit, labels, options, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (1, options.num_beams, SIZE)
    found, grammar = search(
        task, limit, labels, options, lambda: scale * torch.randn(shape, generator=generator)
    )
    begin, *answer = found.token_ids
    assert begin == 0
    assert answer[-1] == END
    assert grammar.accepts(steps_of(answer, grammar)), VOCABULARY.decode(answer)


def test_a_model_that_insists_on_nonsense_is_held_to_the_form():
    logits = torch.full((1, 1, SIZE), -1e6)
    logits[..., SIZE - 1] = 1e6
    found, grammar = search(Task.OD, 12, LABELS, DecodingOptions(num_beams=1), logits.clone)
    assert grammar.accepts(steps_of(found.token_ids[1:], grammar))


def test_repeats_are_banned_unless_nothing_else_is_allowed():
    """One class, one label: its tokens must come again with every box."""
    options = DecodingOptions(num_beams=1, no_repeat_ngram_size=2)
    logits = torch.zeros(1, 1, SIZE)
    logits[..., END] = -10.0  # rather another box than the end
    found, _ = search(Task.OCR_WITH_REGION, 40, [spell("car")], options, logits.clone)
    _, *places = VOCABULARY.decode(found.token_ids[:-1]).split("car")
    assert len(places) >= 2
    assert len(set(places)) == len(places)


def test_memory_grows_with_the_length_of_the_labels_and_not_with_its_square():
    """A table of all tokens by all states would take a gigabyte for 64 such labels."""
    generator = torch.Generator().manual_seed(1)
    sizes = {}
    for count in (8, 64):
        labels = torch.randint(3, SIZE - 5, (count, 40), generator=generator).tolist()
        table = ConstraintTable(KINDS, 2, 3)
        table.open(0, grammar_of(Task.OPEN_VOCABULARY_DETECTION, list(map(tuple, labels))))
        sizes[count] = table.size_bytes
    assert sizes[64] <= 8 * sizes[8]
    assert sizes[64] < 2 * 16_384 * 40


def test_a_search_goes_on_in_its_grammar_while_another_makes_the_table_grow():
    options = DecodingOptions(num_beams=2, no_repeat_ngram_size=0)
    constraints = ConstraintTable(KINDS, 2, options.num_beams)
    table = BeamTable(options, 2, 40, torch.device("cpu"), constraints)
    grammar, before = grammar_of(Task.OD, LABELS), constraints.shape
    table.open(0, [20], [grammar])
    generator = torch.Generator().manual_seed(3)
    for length in range(len(OPENING), 20):
        if length == 6:
            many = [(token, token + 1, 9 + place) for place, token in enumerate(range(5, 60))]
            table.open(1, [20], [grammar_of(Task.OD, many)])
            assert all(new > old for new, old in zip(constraints.shape, before, strict=True))
        logits = torch.randn((1, 2, SIZE), generator=generator)
        if bool(table.update(slice(0, 1), logits, length).finished[0]):
            break
    found = table.best([0], [length + 1])[0]
    assert len(found.token_ids) > 6
    assert grammar.accepts(steps_of(found.token_ids[1:], grammar))
