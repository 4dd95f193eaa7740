"""A run of two processes trains, leaves a model that loads, and goes on from its checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from arno.training.trainer.checkpoint import Checkpoint, Progress
from arno.training.trainer.process_group import ProcessGroup
from rich.console import Console
from transformers import Florence2ForConditionalGeneration

from models.arno_tiny.architecture import save
from models.arno_tiny.recipe import Recipe, TinyRun, launch

# The steps bound these tests: a busy machine makes them slow, not wrong.
pytestmark = [pytest.mark.model, pytest.mark.timeout(3600), pytest.mark.slow]

RECIPE = Recipe(
    steps=4,
    batch=4,
    dense_steps=1,
    log_steps=1,
    checkpoint_steps=2,
    evaluate_steps=1000,
    evaluate_scenes=1,
    answer_tokens_max=4,
    # To read ahead is shown by tests of `arno train`; a loader takes seconds to start.
    loader_processes=0,
)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)["weights"]


def _average(folder: Path) -> list[torch.Tensor]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)["average"]["average"]


def _equal(one: Path, other: Path) -> bool:
    first, second = _weights(one), _weights(other)
    averages = zip(_average(one), _average(other), strict=True)
    return all(torch.equal(first[name], second[name]) for name in first) and all(
        torch.equal(own, others) for own, others in averages
    )


def test_two_processes_leave_a_model_that_transformers_loads(tmp_path: Path) -> None:
    launch(tmp_path, replace(RECIPE, steps=2), processes=2)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 2
    assert len(state["scores"]) == 16
    model = Florence2ForConditionalGeneration.from_pretrained(tmp_path / "model")
    assert sum(parameter.numel() for parameter in model.parameters()) < 15_000_000
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "score/OD" in line] == [2]
    assert "answer" in next(line for line in lines if line["step"] == 2)


class _KilledError(Exception):
    pass


def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str, recipe: Recipe) -> None:
        TinyRun(tmp_path / name, recipe, Console(quiet=True), ProcessGroup()).train()

    torch.set_num_threads(1)
    run("whole", RECIPE)
    with monkeypatch.context() as patched:
        save_checkpoint = Checkpoint.save

        def die_after_the_first(checkpoint: Checkpoint, progress: Progress) -> None:
            save_checkpoint(checkpoint, progress)
            raise _KilledError

        patched.setattr(Checkpoint, "save", die_after_the_first)
        with pytest.raises(_KilledError):
            run("killed", RECIPE)
    assert torch.load(tmp_path / "killed" / "checkpoint.pt", weights_only=True)["step"] == 2
    assert not _equal(tmp_path / "whole", tmp_path / "killed")
    run("killed", RECIPE)
    assert _equal(tmp_path / "whole", tmp_path / "killed")


def test_the_loss_falls_on_scenes_that_come_again(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    recipe = replace(RECIPE, steps=20, batch=2, dense_steps=0, repeat_every=2, learning_rate=3e-2)
    TinyRun(tmp_path, recipe, Console(quiet=True), ProcessGroup()).train()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [line["answer"] for line in lines if "answer" in line]
    assert losses[-1] < 0.8 * losses[0]


def test_a_run_takes_up_the_weights_that_an_earlier_one_saved(tmp_path: Path) -> None:
    first = TinyRun(tmp_path / "first", RECIPE, Console(quiet=True), ProcessGroup())
    save(first.model, tmp_path / "model")
    recipe = replace(RECIPE, seed=1, start_from=tmp_path / "model")
    second = TinyRun(tmp_path / "second", recipe, Console(quiet=True), ProcessGroup())
    own = dict(second.model.named_parameters())
    for name, weight in first.model.named_parameters():
        assert torch.equal(own[name], weight.half().float()), name
