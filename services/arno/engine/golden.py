"""Keep what a model answered to the probes, and tell later whether it still does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from arno.engine.interface import ModelCard
from arno.engine.self_test import ProbeAnswer
from arno.errors import ModelError

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
