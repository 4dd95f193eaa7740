"""Which weights learn; and no library has anything to remark (a warning fails a test)."""

from __future__ import annotations

from pathlib import Path

import pytest
from arno.training.trainer.model import TrainableModel, load_trainable_model
from arno.training.trainer.process_group import ProcessGroup
from arno.training.trainer.settings import TrainSettings

pytestmark = pytest.mark.model


def trainable(**settings: object) -> TrainableModel:
    chosen = {"data": "x.jsonl", "out": Path("unused"), "device": "cpu", **settings}
    return load_trainable_model(TrainSettings.model_validate(chosen), ProcessGroup())


def trained_names(found: TrainableModel) -> set[str]:
    return {name for name, _ in found.trained_weights()}


def test_whole_model_learns():
    found = trainable()
    assert trained_names(found) == {name for name, _ in found.network.named_parameters()}


def test_frozen_vision_tower_does_not_learn():
    names = trained_names(trainable(freeze_vision=True))
    assert names
    assert not any("vision_tower" in name for name in names)


@pytest.mark.parametrize("frozen", [False, True])
def test_of_lora_only_its_matrices_learn_in_every_part_that_is_not_frozen(frozen):
    names = trained_names(trainable(lora_rank=4, freeze_vision=frozen))
    assert all("lora_A" in name or "lora_B" in name for name in names)
    parts = ("vision_tower", "multi_modal_projector", "encoder.layers", "decoder.layers")
    assert [part for part in parts if any(part in name for name in names)] == list(parts[frozen:])


def test_matrices_decay_and_norms_and_biases_do_not():
    found = trainable()
    settings = TrainSettings(data="x.jsonl", out=Path("unused"), weight_decay=0.3)
    matrices, others = found.optimiser(settings).param_groups
    assert (matrices["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert all(one.dim() > 1 for one in matrices["params"])
    assert all(one.dim() <= 1 for one in others["params"])
