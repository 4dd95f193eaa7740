"""Check before readiness that a model answers at all, and compare its answers with recorded ones.

Broken checkpoints load without an error and then write `<s><s><s>` to everything.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from arno.engine.checkpoints.folders import RANDOM_PREFIX
from arno.engine.interface import (
    DecodingOptions,
    Engine,
    ModelCard,
    SequenceFinished,
    SequenceRequest,
)
from arno.errors import ModelError
from arno.vocabulary import CATALOGUE, FinishReason, Task

logger = logging.getLogger(__name__)

# Repeats are allowed: without them, even a broken model comes to other tokens in the end.
_GREEDY: Final = DecodingOptions(num_beams=1, max_new_tokens=16, no_repeat_ngram_size=0)
_BEAMS: Final = DecodingOptions(num_beams=3, max_new_tokens=16, no_repeat_ngram_size=0)
_PROBES: Final = ((Task.CAPTION, _GREEDY), (Task.OD, _BEAMS), (Task.DETAILED_CAPTION, _BEAMS))
"""Greedy and beam search, words and locations."""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What a model said to a probe.

    Attributes:
        task: Which.
        num_beams: How it was decoded; 1 is greedy.
        token_ids: Without the decoder's start token.
        text: Tokens as text, locations and markers by their names.
        finish_reason: Why it ended.
        says_something: Whether any token is more than begin, end or padding.
    """

    task: Task
    num_beams: int
    token_ids: tuple[int, ...]
    text: str
    finish_reason: FinishReason
    says_something: bool


def check_answers(engine: Engine, *, allow_untrained: bool) -> tuple[ProbeAnswer, ...]:
    """Have the engine answer the probes, and return what it said.

    The start-up self-test, and `arno model verify`. The engine must have nothing else in hand.

    Raises:
        ModelError: The weights are random, or no answer holds anything but special tokens, unless
            that is allowed; or a probe fails.
    """
    name = engine.card.name
    if engine.card.fingerprint.startswith(RANDOM_PREFIX) and not allow_untrained:
        raise ModelError(
            f"model: {name}: what it answers means nothing; for load tests, --allow-untrained"
        )
    answers = ask_probes(engine)
    if not allow_untrained and not any(answer.says_something for answer in answers):
        raise ModelError(
            f"model: {name} answers with nothing but special tokens; its weights do not fit its "
            "configuration, or it is not trained"
        )
    logger.info("the model answers", extra={"model": name})
    return answers


def ask_probes(engine: Engine) -> tuple[ProbeAnswer, ...]:
    """Have the engine answer the probes, in their order.

    Raises:
        ModelError: One of them fails.
    """
    image = engine.prepare(probe_picture())
    for task, options in _PROBES:
        request = SequenceRequest(
            sequence_id=_name(task),
            image=image,
            prompt=CATALOGUE[task].prompt,
            options=options,
            deadline_s=None,
            lane="interactive",
            tenant="self-test",
            expected_token_count=options.max_new_tokens,
        )
        engine.submit(request)
    ends = {end.sequence_id: end for end in _run(engine, len(_PROBES))}
    return tuple(_answer(engine, task, options, ends[_name(task)]) for task, options in _PROBES)


def _name(task: Task) -> str:
    return f"self-test-{task}"


def _answer(
    engine: Engine, task: Task, options: DecodingOptions, end: SequenceFinished
) -> ProbeAnswer:
    if end.finish_reason is FinishReason.ERROR:
        raise ModelError(f"model: the self-test failed: {end.error}") from end.error
    token_table = engine.token_table
    said = [token_id for token_id in end.token_ids if not token_table.is_special(token_id)]
    return ProbeAnswer(
        task=task,
        num_beams=options.num_beams,
        token_ids=end.token_ids,
        text=token_table.decode(said),
        finish_reason=end.finish_reason,
        says_something=bool(said),
    )


def _run(engine: Engine, count: int) -> list[SequenceFinished]:
    answers: list[SequenceFinished] = []
    while len(answers) < count:
        answers += [event for event in engine.step() if isinstance(event, SequenceFinished)]
    return answers


def probe_picture() -> bytes:
    """Return a red square on a bright ground, as a PNG."""
    picture = Image.new("RGB", (64, 64), "lightblue")
    picture.paste("red", (16, 16, 48, 48))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


GOLDEN_FILE: Final = "arno-golden.json"
"""Beside the weights; no part of the fingerprint."""


def record_golden(folder: Path, card: ModelCard, answers: Sequence[ProbeAnswer]) -> Path:
    """Write a model's fingerprint and its answers into its folder, and return the file.

    Raises:
        ModelError: The folder cannot be written.
    """
    facts = {
        "fingerprint": card.fingerprint,
        "dtype": card.dtype,
        "answers": {
            answer.task: {"tokens": answer.token_ids, "text": answer.text} for answer in answers
        },
    }
    path = folder / GOLDEN_FILE
    try:
        path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    except OSError as fault:
        raise ModelError(f"model: {path} cannot be written: {fault}") from fault
    return path


def compare_golden(
    folder: Path, card: ModelCard, answers: Sequence[ProbeAnswer]
) -> tuple[str, ...]:
    """Return how a model differs from what was recorded; nothing where nothing was recorded.

    Answers are compared where the number format is the recorded one: another may round to another
    token.

    Raises:
        ModelError: The record cannot be read.
    """
    path = folder / GOLDEN_FILE
    if not path.is_file():
        return ()
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        tokens = {task: tuple(said["tokens"]) for task, said in facts["answers"].items()}
        fingerprint, dtype = facts["fingerprint"], facts["dtype"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ModelError(f"model: {path} cannot be read: {fault!r}") from fault
    found = []
    if fingerprint != card.fingerprint:
        found.append(f"the files have changed: {fingerprint} was recorded, not {card.fingerprint}")
    if dtype == card.dtype:
        found += [
            f"{answer.task} is answered otherwise: {answer.text!r}"
            for answer in answers
            if tokens.get(answer.task) != answer.token_ids
        ]
    return tuple(found)
