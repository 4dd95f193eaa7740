"""The presets of Florence-2's paper, scaled down: another resolution, the mixture, the cosine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from arno.engine.checkpoints import load_checkpoint
from arno.engine.settings import EngineSettings
from arno.errors import ConfigurationError
from arno.training.trainer.fine_tune import fine_tune
from arno.training.trainer.process_group import ProcessGroup
from arno.training.trainer.settings import TrainSettings
from rich.console import Console

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]

DATA = "world:seed=1,n=2,tasks=CAPTION+OD+CAPTION_TO_PHRASE_GROUNDING,world=plain"


def settings(out: Path, preset: str, **changes: object) -> TrainSettings:
    small = {"steps": 3, "batch": 3, "precision": "float32", "device": "cpu", "threads": 1}
    given = {
        "preset": preset,
        "data": DATA,
        "out": out,
        "loader_processes": 0,
        "save_dtype": "float32",
    }
    return TrainSettings.model_validate(given | small | changes)


def test_model_of_the_second_preset_takes_images_of_twice_the_size(tmp_path):
    first, second = tmp_path / "low", tmp_path / "high"
    assert fine_tune(settings(first, "paper-384", image_px=64), ProcessGroup(), Console(quiet=True))
    low = str(first / "model")
    assert load_checkpoint(EngineSettings(model=low, device="cpu")).recipe.side_px == 64
    again = settings(second, "paper-768", image_px=128, model=low)
    assert fine_tune(again, ProcessGroup(), Console(quiet=True))
    loaded = load_checkpoint(EngineSettings(model=str(second / "model"), device="cpu"))
    assert loaded.recipe.side_px == 128
    steps = (first / "log.jsonl").read_text().splitlines()
    rates = [json.loads(line)["learning_rate"] for line in steps]
    assert rates == pytest.approx([1e-4, 1e-4, 5.005e-5], rel=1e-3)


def test_images_larger_than_the_table_of_positions_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"image_px: 512 .* grid of 32 .* knows 1 to 16"):
        fine_tune(
            settings(tmp_path, "paper-384", image_px=512), ProcessGroup(), Console(quiet=True)
        )
