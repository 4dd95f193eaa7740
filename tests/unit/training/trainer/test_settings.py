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


def test_preset_is_the_recipe_of_the_paper_and_other_flags_win_over_it():
    recipe = load(preset="paper-384")
    assert (recipe.image_px, recipe.batch, recipe.steps) == (384, 2048, 1_464_844)
    assert recipe.steps * recipe.warm_up_part == pytest.approx(5000)
    assert (recipe.peak_learning_rate, recipe.learning_rate_end) == (1e-4, 1e-7)
    assert load(preset="paper-384", batch="64").batch == 64
    heads = load(preset="paper-heads", head="detection")
    assert (heads.epochs, heads.schedule) == (12.0, "steps")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"vision_stages": "2"}, "--vision-stages: only with --head"),
        ({"head": "detection", "lora_rank": "4"}, "--lora-rank: not with --head"),
        ({"head": "detection", "mixture": "text=1"}, "--mixture: not with --head"),
        ({"head": "segmentation", "micro_batch": "1"}, "normalises over a batch"),
        ({"head": "segmentation", "batch": "9", "micro_batch": "8"}, "normalises over a batch"),
        ({"mixture": "texts=1"}, "'texts=1' is not one of text, region, triplet"),
        ({"learning_rate_end": "1"}, "--learning-rate-end: above the peak"),
    ],
)
def test_settings_that_do_not_go_together_are_named(flags, message):
    with pytest.raises(ConfigurationError) as caught:
        load(**flags)
    assert message in caught.value.message
