"""A run of two processes trains, leaves a model that loads, and goes on from its checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from arno.training.tiny.launch import launch
from arno.training.tiny.loop import Recipe
from transformers import Florence2ForConditionalGeneration

pytestmark = pytest.mark.model


@pytest.mark.timeout(300)
def test_a_run_ends_with_a_model_and_a_longer_budget_continues_it(tmp_path: Path) -> None:
    launch(tmp_path, Recipe(minutes=0.08, batch=4, evaluate_scenes=2), workers=2)
    first = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert first["images"] == 4 * first["step"] > 0
    model = Florence2ForConditionalGeneration.from_pretrained(tmp_path / "model")
    assert sum(parameter.numel() for parameter in model.parameters()) < 12_000_000

    longer = first["trained_s"] / 60 + 0.05
    launch(tmp_path, Recipe(minutes=longer, batch=4, evaluate_scenes=2), workers=2)
    second = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert second["step"] > first["step"]
    assert second["trained_s"] > first["trained_s"]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "map_50" in line] == [first["step"], second["step"]]
