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
from arno.engine.interface import DecodingOptions, Engine, ModelCard, SequenceFinished
from arno.engine.sequences.task_sequences import run_to_end, task_request
from arno.errors import ModelError
from arno.vocabulary import FinishReason, Task, TaskSpec, TokenTable

logger = logging.getLogger(__name__)

# Repeats are allowed: if they were not, even a broken model would write other tokens in the end.
_GREEDY: Final = DecodingOptions(num_beams=1, max_new_tokens=16, no_repeat_ngram_size=0)
_BEAMS: Final = DecodingOptions(num_beams=3, max_new_tokens=16, no_repeat_ngram_size=0)
_PROBES: Final = ((Task.CAPTION, _GREEDY), (Task.OD, _BEAMS), (Task.DETAILED_CAPTION, _BEAMS))
"""They cover greedy and beam search, words and locations."""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """The answer of a model to a probe.

    Attributes:
        task: The task asked.
        num_beams: Width of the search; 1 is greedy.
        token_ids: Generated tokens, without the decoder's start token.
        text: The tokens as text, locations and markers by name.
        finish_reason: Why decoding ended.
        says_something: Whether any token is more than begin, end or padding.
    """

    task: Task
    num_beams: int
    token_ids: tuple[int, ...]
    text: str
    finish_reason: FinishReason
    says_something: bool


def check_answers(engine: Engine, *, allow_untrained: bool) -> tuple[ProbeAnswer, ...]:
    """Ask an engine without other work the probes, judge the answers, and return them.

    This is the start-up self-test, and `arno model verify`.

    Raises:
        ModelError: A probe fails; or the weights are random, or no answer holds anything but
            special tokens, and untrained models are not allowed.
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
    """Return the answers of an engine to the probes, in their order.

    Raises:
        ModelError: One of them fails.
    """
    image = engine.prepare(probe_picture())
    requests = [
        task_request(f"self-test-{task}", TaskSpec(task), image, options=options)
        for task, options in _PROBES
    ]
    return tuple(
        _answer(engine.token_table, task, options, end)
        for (task, options), end in zip(_PROBES, run_to_end(engine, requests), strict=True)
    )


def _answer(
    token_table: TokenTable, task: Task, options: DecodingOptions, end: SequenceFinished
) -> ProbeAnswer:
    if end.finish_reason is FinishReason.ERROR:
        raise ModelError(f"model: the self-test failed: {end.error}") from end.error
    meaningful = [token_id for token_id in end.token_ids if not token_table.is_special(token_id)]
    return ProbeAnswer(
        task=task,
        num_beams=options.num_beams,
        token_ids=end.token_ids,
        text=token_table.decode(meaningful),
        finish_reason=end.finish_reason,
        says_something=bool(meaningful),
    )


def probe_picture() -> bytes:
    """Return a red square on a bright ground, as a PNG."""
    picture = Image.new("RGB", (64, 64), "lightblue")
    picture.paste("red", (16, 16, 48, 48))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


GOLDEN_FILE: Final = "arno-golden.json"
"""File beside the weights with recorded answers; not part of the fingerprint."""


def record_golden(folder: Path, card: ModelCard, answers: Sequence[ProbeAnswer]) -> Path:
    """Write a model's fingerprint and answers into its folder, and return the file.

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
    """Return the differences between a model and its record, none if there is no record.

    Answers are compared only in the recorded number format and mode: others may round to other
    tokens.

    Raises:
        ModelError: The record cannot be read.
    """
    path = folder / GOLDEN_FILE
    if not path.is_file():
        return ()
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        tokens = {task: tuple(one["tokens"]) for task, one in facts["answers"].items()}
        fingerprint, dtype = facts["fingerprint"], facts["dtype"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ModelError(f"model: {path} cannot be read: {fault!r}") from fault
    found = []
    modes, _, digest = card.fingerprint.rpartition("-")
    recorded_modes, _, recorded = fingerprint.rpartition("-")
    if digest != recorded:
        found.append(f"the files have changed: {fingerprint} was recorded, not {card.fingerprint}")
    if (dtype, recorded_modes) == (card.dtype, modes):
        found += [
            f"{answer.task} is answered otherwise: {answer.text!r}"
            for answer in answers
            if tokens.get(answer.task) != answer.token_ids
        ]
    return tuple(found)
