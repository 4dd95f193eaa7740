"""Find out before readiness whether a model answers at all.

Broken checkpoints load without an error and then write `<s><s><s>` to everything.
"""

from __future__ import annotations

import io
import logging
from typing import Final

from PIL import Image

from arno.engine.interface import DecodingOptions, Engine, SequenceFinished, SequenceRequest
from arno.errors import ModelError
from arno.tasks import CATALOGUE, FinishReason, Task

logger = logging.getLogger(__name__)

# Repeats are allowed: without them, even a broken model comes to other tokens in the end.
_GREEDY: Final = DecodingOptions(num_beams=1, max_new_tokens=16, no_repeat_ngram_size=0)
_BEAMS: Final = DecodingOptions(num_beams=3, max_new_tokens=16, no_repeat_ngram_size=0)
_PROBES: Final = ((Task.CAPTION, _GREEDY), (Task.OD, _BEAMS), (Task.DETAILED_CAPTION, _BEAMS))
"""Greedy and beam search, words and locations."""


def check_answers(engine: Engine, *, allow_untrained: bool) -> None:
    """Have the engine answer the probes; it must have nothing else in hand.

    Raises:
        ModelError: No answer holds anything but special tokens, unless that is allowed; or a probe
            fails.
    """
    image = engine.prepare(_picture())
    for task, options in _PROBES:
        request = SequenceRequest(
            sequence_id=f"self-test-{task}",
            image=image,
            prompt=CATALOGUE[task].prompt,
            options=options,
            deadline_s=None,
            lane="interactive",
            tenant="self-test",
            expected_token_count=options.max_new_tokens,
        )
        engine.submit(request)
    answers = _run(engine, len(_PROBES))
    for answer in answers:
        if answer.finish_reason is FinishReason.ERROR:
            raise ModelError(f"model: the self-test failed: {answer.error}") from answer.error
    if not allow_untrained and not any(_says_something(engine, answer) for answer in answers):
        raise ModelError(
            f"model: {engine.card.name} answers with nothing but special tokens; its weights do "
            "not fit its configuration, or it is not trained"
        )
    logger.info("the model answers", extra={"model": engine.card.name})


def _run(engine: Engine, count: int) -> list[SequenceFinished]:
    answers: list[SequenceFinished] = []
    while len(answers) < count:
        answers += [event for event in engine.step() if isinstance(event, SequenceFinished)]
    return answers


def _says_something(engine: Engine, answer: SequenceFinished) -> bool:
    return any(not engine.vocabulary.is_special(token_id) for token_id in answer.token_ids)


def _picture() -> bytes:
    """Return a red square on a bright ground, as a PNG."""
    picture = Image.new("RGB", (64, 64), "lightblue")
    picture.paste("red", (16, 16, 48, 48))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
