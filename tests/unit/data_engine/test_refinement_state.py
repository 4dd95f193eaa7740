"""What rounds have come to: the best of them, and runs that are gone on with."""

from __future__ import annotations

import pytest
from arno.data_engine.refinement.settings import RefineSettings
from arno.data_engine.refinement.state import Round, State, load_state, save_state
from arno.errors import ConfigurationError


def done(number: int, held_out: float | None) -> Round:
    return Round(number, held_out, {"OD": {"map_50": 0.5}}, {"images": 3}, {}, 1.0)


def settings(tmp_path, **changed) -> RefineSettings:
    given = {"data": "labels", "validation": "held-out", "out": tmp_path / "run", **changed}
    return RefineSettings(**given)


def test_best_round_is_the_first_of_the_highest_and_none_before_any_was_measured():
    rounds = [done(0, None), done(1, 0.5), done(2, 0.7), done(3, 0.7)]
    assert State({}, rounds).best is rounds[2]
    assert State({}, rounds[:1]).best is None


def test_state_comes_back_as_it_was_written(tmp_path):
    state = State({"seed": 3}, [done(0, None), done(1, 0.5)], "2 rounds are done")
    save_state(tmp_path, state)
    assert load_state(tmp_path, {"seed": 3}) == state


def test_run_of_other_settings_is_refused_by_their_names(tmp_path):
    save_state(tmp_path, State(settings(tmp_path, seed=1).identity()))
    other = settings(tmp_path, seed=2, score_min=0.5).identity()
    with pytest.raises(ConfigurationError, match="another score_min, seed;"):
        load_state(tmp_path, other)


def test_number_of_rounds_and_of_processes_may_change(tmp_path):
    save_state(tmp_path, State(settings(tmp_path).identity()))
    more = settings(tmp_path, rounds=9, processes=2, loader_processes=0).identity()
    assert load_state(tmp_path, more).rounds == []


def test_training_of_a_round_takes_its_data_and_no_validation_loss(tmp_path):
    train = settings(tmp_path, epochs=1.5, lora_rank=4).train_settings(
        "kept,regions=3", tmp_path / "train", "base"
    )
    assert (train.data, train.out, train.model) == (
        "kept,regions=3", tmp_path / "train", "base"
    )  # fmt: skip
    assert (train.epochs, train.lora_rank, train.validation) == (1.5, 4, "")


def test_head_is_no_model_that_annotates(tmp_path):
    with pytest.raises(ValueError, match="rounds train the language model"):
        settings(tmp_path, head="detection")
