"""Settings of a training run that do not go together are told by their flags."""

from __future__ import annotations

import pytest
from arno.errors import ConfigurationError
from arno.ops.config import SettingsSources, load_settings
from arno.training.trainer.settings import TrainSettings

NEEDED = {"data": "x.jsonl", "out": "runs/x"}


def load(**flags: object) -> TrainSettings:
    return load_settings(TrainSettings, SettingsSources(process="train", flags=NEEDED | flags))


@pytest.mark.parametrize("flag", ["lora_alpha", "lora_dropout"])
def test_what_belongs_to_lora_needs_a_rank(flag):
    with pytest.raises(ConfigurationError) as caught:
        load(**{flag: "0.5"})
    assert caught.value.message.endswith(
        "1 setting cannot be used:\n  --lora-alpha and --lora-dropout need --lora-rank"
    )
    assert getattr(load(**{flag: "0.5"}, lora_rank="4"), flag) == 0.5


def test_learning_rate_is_that_of_the_kind_of_training_unless_it_is_named():
    assert load().peak_learning_rate == 1e-5
    assert load(lora_rank="8").peak_learning_rate == 2e-4
    assert load(lora_rank="8", learning_rate="1").peak_learning_rate == 1.0


def test_what_is_needed_is_named():
    with pytest.raises(ConfigurationError, match=r"--data \(ARNO_DATA\): is needed"):
        load(data=None)
