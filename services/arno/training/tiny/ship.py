"""Turn a run's checkpoint into the folder that Arno bundles, measured as it will be used."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoProcessor, Florence2ForConditionalGeneration

from arno.training.evaluation import Figures, measure
from arno.training.tiny.architecture import build_model, save
from arno.training.tiny.card import Measured, Training, card
from arno.training.tiny.tokenizer import build_tokenizer
from arno.training.world import Split

_MODEL_PREFIX = "model."


def ship(checkpoint: Path, folder: Path, scenes: int) -> list[Measured]:
    """Write weights, configuration and model card into ``folder``; return what was measured.

    Raises:
        FileNotFoundError: There is no checkpoint.
    """
    state = torch.load(checkpoint, weights_only=True)
    model = build_model(build_tokenizer())
    weights = {
        name.removeprefix(_MODEL_PREFIX): value
        for name, value in state["objective"].items()
        if name.startswith(_MODEL_PREFIX)
    }
    model.load_state_dict(weights)
    save(model, folder)
    rows = [
        Measured("3 beams, no repeated 3-gram", measure_folder(folder, scenes, beams=3)),
        Measured("greedy, no repeated 3-gram", measure_folder(folder, scenes, beams=1)),
    ]
    training = Training(
        images=state["images"],
        steps=state["step"],
        minutes=state["trained_s"] / 60,
        batch=state["images"] // max(1, state["step"]),
        seed=state.get("seed", 0),
    )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    (folder / "README.md").write_text(card(parameters, training, rows))
    return rows


def measure_folder(folder: Path, scenes: int, beams: int) -> Figures:
    """Measure a saved model on the test split, loaded the way a stranger would."""
    model = Florence2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    model.train(mode=False)
    processor = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]
    return measure(model, processor, Split.TEST, scenes=scenes, beams=beams)
