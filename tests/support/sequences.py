"""Sequences of an engine, without an engine."""

from __future__ import annotations

from arno.engine.interface import DecodingOptions, PreparedImage, SequenceRequest
from arno.engine.sequences.sequence import Sequence
from arno.vocabulary import ImageSize
from arno.vocabulary.grammar import Grammar

IMAGE = PreparedImage("0" * 64, None, ImageSize(8, 8), "image/png", 0.0)


def sequence(
    name: str,
    options: DecodingOptions | None = None,
    *,
    deadline_s: float | None = None,
    grammar: Grammar | None = None,
    prompt_ids: tuple[int, ...] = (0, 2),
    image: PreparedImage = IMAGE,
) -> Sequence:
    """A queued sequence of an interactive request."""
    options = options or DecodingOptions()
    request = SequenceRequest(
        sequence_id=name,
        image=image,
        prompt="What?",
        options=options,
        deadline_s=deadline_s,
        lane="interactive",
        tenant="t",
        expected_token_count=12,
    )
    return Sequence(request, prompt_ids, options.max_new_tokens, 0.0, grammar)
