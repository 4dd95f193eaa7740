"""Build the grammar of one sequence: its task's, with the caller's labels spelled in tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from arno.engine.checkpoints.tokenizer import PromptTokenizer
from arno.vocabulary import TokenTable
from arno.vocabulary.grammar import Grammar, Symbol, symbol_of
from arno.vocabulary.grammars import Constraint, grammar_of


def build_grammar(
    constraint: Constraint | None, tokenizer: PromptTokenizer, token_table: TokenTable
) -> Grammar | None:
    """Return what an answer is held to; None where it is free."""
    if constraint is None:
        return None
    spellings = constraint.spellings
    labels = None if spellings is None else _labels(spellings, tokenizer, token_table)
    return grammar_of(constraint.task, labels)


def _labels(
    spellings: Iterable[str], tokenizer: PromptTokenizer, token_table: TokenTable
) -> Iterator[tuple[int, ...]]:
    text = (Symbol.WORD, Symbol.BLANK)
    for spelling in spellings:
        ids = tokenizer.encode_label(spelling)
        # A name that reads like a marker would be one.
        if all(symbol_of(token_table, token_id) in text for token_id in ids):
            yield ids
