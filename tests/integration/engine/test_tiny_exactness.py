"""The bundled model, every task: Arno's engine gives the tokens that transformers gives."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from arno.engine import DecodingOptions, EngineSettings, create_engine
from arno.engine.checkpoints.folders import TINY_MODEL, find_model
from arno.vocabulary import CATALOGUE, Box, ExtraInput, ImageSize, Task, build_prompt
from support.engine_runs import Reference, request, run_all, submit_all

pytestmark = pytest.mark.model

IMAGES = sorted(
    path
    for path in (Path(__file__).parents[3] / "examples" / "images").iterdir()
    if path.suffix in {".png", ".jpg", ".jpeg", ".webp"}
)


def prompt(task: Task, size: ImageSize) -> str:
    wanted = CATALOGUE[task].extra_input
    if wanted is ExtraInput.REGION:
        return build_prompt(task, region=Box(4, 4, 60, 50), size=size)
    return build_prompt(task, text="" if wanted is ExtraInput.NONE else "a red car", size=size)


@pytest.mark.parametrize("num_beams", [1, 3, 5])
def test_every_task_in_one_mix_is_answered_as_transformers_answers_it(num_beams):
    engine = create_engine(EngineSettings(model=TINY_MODEL, device="cpu", batch_sequences_max=6))
    reference = Reference(find_model(TINY_MODEL))
    options = DecodingOptions(num_beams=num_beams, max_new_tokens=40)
    images = [engine.prepare(path.read_bytes()) for path in IMAGES[:3]]
    chance = random.Random(num_beams)
    requests = [
        request(
            task.value,
            image := chance.choice(images),
            prompt(task, image.size),
            options,
        )
        for task in Task
    ]
    submit_all(engine, requests)
    ends = run_all(engine)
    for asked in requests:
        assert ends[asked.sequence_id].token_ids == reference.answer(asked), asked.sequence_id
    engine.close()
