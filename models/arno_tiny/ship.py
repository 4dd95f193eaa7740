"""Turn a run's checkpoint into the folder that Arno bundles, measured as it will be used."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from arno.training.data.world import WorldScenes
from arno.training.evaluation.answering import DecodingChoice
from arno.training.evaluation.local import open_model
from arno.training.evaluation.nouns import nouns_of
from arno.training.evaluation.questions import questions_of
from arno.training.evaluation.run import evaluate
from arno.training.world import Split

from models.arno_tiny.architecture import build_model, save
from models.arno_tiny.card import Making, Measurement, card
from models.arno_tiny.run_log import LOG_FILE
from models.arno_tiny.tokenizer import build_tokenizer

_SEED = 0


def ship(checkpoint: Path, folder: Path, scenes: int) -> Measurement:
    """Write weights, configuration, card and the run's log into ``folder``; return the figures.

    Raises:
        FileNotFoundError: There is no checkpoint, or no log beside it.
    """
    state = torch.load(checkpoint, weights_only=True)
    model = build_model(build_tokenizer())
    average = state["average"]["average"]
    with torch.no_grad():
        for parameter, kept in zip(model.parameters(), average, strict=True):
            parameter.copy_(kept)
    save(model, folder)
    shutil.copyfile(checkpoint.with_name(LOG_FILE), folder / "training.jsonl")
    measured = measure(folder, scenes)
    making = Making(
        steps=state["step"],
        batch=state["batch"],
        minutes=state["trained_s"] / 60,
        precision="bfloat16" if state["bfloat16"] else "float32",
        seed=state["seed"],
        earlier_scenes=state["first_scene"],
        commit=state["commit"],
        machine=state["machine"],
    )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    (folder / "README.md").write_text(card(parameters, making, measured))
    return measured


def measure(folder: Path, scenes: int) -> Measurement:
    """Measure a saved model on test scenes, as ``arno eval`` does."""
    decoding = DecodingChoice()
    answerer = open_model(str(folder), decoding, device="cpu")
    asked = questions_of(WorldScenes(seed=_SEED, count=scenes, split=Split.TEST))
    try:
        found = evaluate(answerer, asked, decoding=decoding, nouns=nouns_of("world:"))
    finally:
        answerer.close()
    return Measurement(
        scenes, {task: judged.figures.values for task, judged in found.tasks.items()}
    )
