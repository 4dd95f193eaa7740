"""Constrained answers have their task's form, and cost the unconstrained ones nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from arno.engine import DecodingOptions, EngineSettings, create_engine
from arno.engine.checkpoints.folders import TINY_MODEL
from arno.vocabulary import Decoded, Task, build_prompt, parse
from arno.vocabulary.grammar import Symbol, symbol_of
from arno.vocabulary.task_grammars import Constraint, grammar_of
from support.engine_runs import picture, request, run_all, submit_all

pytestmark = pytest.mark.model

IMAGES = sorted(Path("examples/images").glob("*.*"))[:3]


@pytest.mark.parametrize("num_beams", [1, 3])
def test_an_answer_that_was_well_formed_stays_as_it_was(num_beams):
    engine = create_engine(EngineSettings(model=TINY_MODEL, device="cpu"))
    images = [engine.prepare(path.read_bytes()) for path in IMAGES]
    options = DecodingOptions(num_beams=num_beams, max_new_tokens=60)
    cases = [(task, index) for task in (Task.OD, Task.CAPTION) for index in range(len(images))]
    for task, index in cases:
        size = images[index].size
        asked = request(f"{task}-{index}", images[index], build_prompt(task, size=size), options)
        free = request(f"{task}-{index}-free", images[index], asked.prompt, options)
        held = request(
            f"{task}-{index}-held",
            images[index],
            asked.prompt,
            options,
            constraint=Constraint(task),
        )
        submit_all(engine, [free, held])
    ends = run_all(engine)
    compared = 0
    for task, index in cases:
        free = ends[f"{task}-{index}-free"].token_ids
        symbols = [symbol_of(engine.token_table, token) or Symbol.END for token in free[1:]]
        if grammar_of(task).accepts(symbols):
            compared += 1
            assert ends[f"{task}-{index}-held"].token_ids == free
    assert compared >= len(cases) - 1
    engine.close()


def test_classes_are_the_only_labels_and_every_region_is_whole(engine, reference):
    classes = ("ab", "abc", "zebra")
    images = [engine.prepare(picture(seed)) for seed in range(4)]
    held = [
        request(f"held-{n}", image, "Where", constraint=Constraint(Task(name), classes))
        for n, (image, name) in enumerate(
            zip(
                images,
                ["OPEN_VOCABULARY_DETECTION", "CAPTION_TO_PHRASE_GROUNDING"] * 2,
                strict=True,
            )
        )
    ]
    free = [request(f"free-{n}", image, "Where") for n, image in enumerate(images)]
    submit_all(engine, [each for pair in zip(held, free, strict=True) for each in pair])
    ends = run_all(engine)
    labels = set()
    for asked in held:
        decoded = Decoded(ends[asked.sequence_id].token_ids)
        size = asked.image.size
        answer = parse(asked.constraint.task, decoded, engine.token_table, size, classes=classes)
        labels |= {region.label for region in answer.regions}
        # Nothing was left out: what was read is all that was written.
        kinds = [symbol_of(engine.token_table, token) for token in decoded.token_ids]
        assert sum(len(region.bins) for region in answer.regions) == kinds.count(Symbol.LOCATION)
    assert labels
    assert labels <= set(classes)
    for asked in free:
        assert ends[asked.sequence_id].token_ids == reference.answer(asked)


def test_a_class_that_reads_like_a_marker_is_never_written(engine):
    constraint = Constraint(Task.OPEN_VOCABULARY_DETECTION, ("<poly>",))
    engine.submit(request("s", engine.prepare(picture(0)), "Where", constraint=constraint))
    assert run_all(engine)["s"].token_ids == (0, 2)
