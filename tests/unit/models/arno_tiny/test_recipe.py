"""A run with a limit of time ends by it; batches cross processes whole; aims are judged."""

from __future__ import annotations

import json
import pickle
import time
from pathlib import Path

import pytest
import torch
from arno.errors import ConfigurationError
from arno.training.trainer.process_group import ProcessGroup

from models.arno_tiny.measure import Row, as_table, write
from models.arno_tiny.recipe import Clock, LevelSchedule, Recipe, launch
from models.arno_tiny.scene_batches import SamplingConfig, SceneBatch, make_batch
from models.arno_tiny.tokenizer import build_tokenizer

pytestmark = pytest.mark.model


def _rate_after(seconds: float, *, minutes: float | None, step: int = 150) -> float:
    recipe = Recipe(steps=100_000, dense_steps=0, minutes_max=minutes, learning_rate=1.0)
    clock = Clock(recipe, ProcessGroup(), time.monotonic() - seconds)
    return LevelSchedule(recipe, clock).learning_rate(step)


def test_the_learning_rate_falls_to_nothing_within_the_limit_of_time() -> None:
    # Of two minutes ten seconds are kept for saving: the last quarter begins after 82 s.
    assert _rate_after(75, minutes=2) == 1.0
    assert _rate_after(96, minutes=2) == pytest.approx(0.5, abs=0.1)
    assert _rate_after(115, minutes=2) == 0.0
    assert _rate_after(1e6, minutes=None) == 1.0


def test_the_steps_end_a_run_that_has_time_left() -> None:
    recipe = Recipe(steps=1000, dense_steps=0, minutes_max=60, learning_rate=1.0)
    schedule = LevelSchedule(recipe, Clock(recipe, ProcessGroup(), time.monotonic()))
    assert schedule.learning_rate(999) < 0.01


def test_a_batch_crosses_processes_without_shared_memory() -> None:
    batch = make_batch(range(3), SamplingConfig(3), build_tokenizer())
    other = pickle.loads(pickle.dumps(batch))  # noqa: S301 - its own
    assert isinstance(other, SceneBatch)
    assert torch.equal(other.pixels, batch.pixels)
    assert torch.equal(other.items.boxes, batch.items.boxes)
    for one, sent in zip(batch.inquiries, other.inquiries, strict=True):
        assert torch.equal(one.answers, sent.answers)
        assert torch.equal(one.items.classes, sent.items.classes)
    assert batch.to(torch.device("cpu")) is batch


def test_a_gpu_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigurationError, match="device"):
        launch(tmp_path, Recipe(device="cuda"), 1)


def test_figures_stand_beside_their_aims(tmp_path: Path) -> None:
    rows = (
        Row("empty", "phantoms", 0.05, 0.02, at_most=True),
        Row("held out", "precision", 0.95, 0.92),
        Row("test split", "recall", 0.5),
    )
    table = as_table(rows)
    assert "| empty | phantoms | 0.050 | at most 0.02, missed |" in table
    assert "| held out | precision | 0.950 | at least 0.92 |" in table
    assert "| test split | recall | 0.500 |  |" in table
    write(rows, tmp_path / "figures.json", model="tiny", scenes=7)
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["scenes"] == 7
    assert [one["is_good"] for one in written["figures"]] == [False, True, True]
