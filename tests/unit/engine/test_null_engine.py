from __future__ import annotations

import dataclasses
import subprocess
import sys
import time

import pytest
from arno.engine import DecodingOptions, EngineSettings, SequenceRequest, create_engine
from arno.engine.null_engine import NullEngine
from arno.errors import InvalidImageError, LimitExceededError
from arno.vocabulary import (
    CATALOGUE,
    Box,
    Decoded,
    FinishReason,
    ImageSize,
    Task,
    build_prompt,
    parse,
)
from support import images

SIZE = ImageSize(64, 48)


@pytest.fixture
def engine() -> NullEngine:
    made = create_engine(EngineSettings(model="null", batch_sequences_max=4))
    assert isinstance(made, NullEngine)
    return made


def request(engine: NullEngine, sequence_id: str, prompt: str = "anything") -> SequenceRequest:
    return SequenceRequest(
        sequence_id=sequence_id,
        image=engine.prepare(images.png()),
        prompt=prompt,
        options=DecodingOptions(),
        deadline_s=None,
        lane="batch",
        tenant="t",
        expected_token_count=1,
    )


@pytest.mark.parametrize("task", Task)
def test_its_answer_to_every_task_is_well_formed(engine, task):
    prompt = build_prompt(task, text="a cat", region=Box(1, 2, 30, 40), size=SIZE)
    engine.submit(request(engine, "s", prompt))
    (end,) = engine.step()
    answer = parse(
        task,
        Decoded(end.token_ids, end.logprobs, end.finish_reason),
        engine.token_table,
        SIZE,
    )
    assert answer.finish_reason is FinishReason.STOP
    assert "null" in answer.raw_text
    has_places = CATALOGUE[task].answer_kind != "TEXT"
    assert bool(answer.regions) or not has_places


def test_a_step_answers_one_batch_and_each_sequence_once(engine):
    for index in range(6):
        engine.submit(request(engine, f"s{index}"))
    ends = [[end.sequence_id for end in engine.step()] for _ in range(3)]
    assert ends == [["s0", "s1", "s2", "s3"], ["s4", "s5"], []]
    assert engine.statistics().waiting_count == 0
    assert engine.statistics().step_count == 2


def test_a_cancelled_sequence_ends_as_cancelled_and_unknown_ids_are_ignored(engine):
    engine.submit(request(engine, "s"))
    engine.cancel("s")
    engine.cancel("unknown")
    (end,) = engine.step()
    assert (end.finish_reason, end.token_ids) == (FinishReason.CANCELLED, ())


def test_sequence_past_its_deadline_ends_without_an_answer(engine):
    late = dataclasses.replace(request(engine, "late"), deadline_s=time.monotonic())
    early = dataclasses.replace(request(engine, "early"), deadline_s=time.monotonic() + 100)
    engine.submit(late)
    engine.submit(early)
    ends = {end.sequence_id: end.finish_reason for end in engine.step()}
    assert ends == {"late": FinishReason.DEADLINE, "early": FinishReason.STOP}


def test_second_sequence_of_an_id_is_refused(engine):
    engine.submit(request(engine, "s"))
    with pytest.raises(ValueError, match="'s' is in the engine already"):
        engine.submit(request(engine, "s"))


def test_it_refuses_what_is_no_image_and_what_is_too_large(engine):
    with pytest.raises(InvalidImageError):
        engine.prepare(b"no image")
    with pytest.raises(LimitExceededError):
        engine.prepare(images.png_bomb())


def test_it_says_that_it_is_no_model(engine):
    assert (engine.card.name, engine.card.fingerprint) == ("null", "null")


def test_it_needs_no_torch():
    program = (
        "import sys; from arno.engine import EngineSettings, create_engine; "
        "create_engine(EngineSettings(model='null')).warm_up(); "
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
