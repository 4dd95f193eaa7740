"""Turn one task into a sequence for an engine, and an ended sequence into the task's answer.

Pure, but for `run_to_end`, which drives an engine that has nothing else to do. Everything that asks
an engine of its own process goes through here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from arno.engine.interface import (
    DecodingOptions,
    Engine,
    PreparedImage,
    SequenceFinished,
    SequenceRequest,
)
from arno.vocabulary import (
    EXPECTED_TOKENS,
    Answer,
    Decoded,
    ImageSize,
    Lane,
    TaskSpec,
    TokenTable,
    build_prompt,
    check_inputs,
    parse,
)
from arno.vocabulary.calibration import UNCALIBRATED, Calibration
from arno.vocabulary.candidates import rank_candidates, write_candidates
from arno.vocabulary.task_grammars import Constraint

_LOCAL_TENANT: Final = "local"


def task_request(
    sequence_id: str,
    spec: TaskSpec,
    image: PreparedImage,
    *,
    options: DecodingOptions | None = None,
    lane: Lane = Lane.INTERACTIVE,
) -> SequenceRequest:
    """Return the sequence that answers a task, without a deadline.

    Args:
        sequence_id: Unique among the engine's live sequences.
        spec: The task; its `input_from` has been followed already.
        image: What `Engine.prepare` returned.
        options: How to decode; None takes the spec's own.
        lane: Priority class.

    Raises:
        InvalidFieldError: The task cannot use its inputs, or lacks one.
    """
    bare = replace(
        local_template(sequence_id, image, lane), expected_token_count=EXPECTED_TOKENS[spec.task]
    )
    asked = with_task(bare, spec)
    return asked if options is None else replace(asked, options=options)


def local_template(sequence_id: str, image: PreparedImage, lane: Lane) -> SequenceRequest:
    """Return a sequence of this process, for `with_task` to complete."""
    return SequenceRequest(
        sequence_id=sequence_id,
        image=image,
        prompt="",
        options=DecodingOptions(),
        deadline_s=None,
        lane=lane,
        tenant=_LOCAL_TENANT,
        expected_token_count=0,
    )


def with_task(bare: SequenceRequest, spec: TaskSpec) -> SequenceRequest:
    """Return a sequence with the fields that follow from its task: prompt, options, form.

    Args:
        bare: The sequence, of which the image counts.
        spec: The task; its `input_from` has been followed already.

    Raises:
        InvalidFieldError: The task cannot use its inputs, or lacks one.
    """
    task, text, classes, region = spec.task, spec.text, spec.classes, spec.region
    size = bare.image.size
    check_inputs(task, text=text, classes=classes, region=region, size=size)
    return replace(
        bare,
        prompt=build_prompt(task, text=text, classes=classes, region=region, size=size),
        options=_decoding_options(spec),
        constraint=Constraint(task, classes) if spec.constrained else None,
        candidates=write_candidates(task, spec.candidates, size),
    )


def _decoding_options(spec: TaskSpec) -> DecodingOptions:
    default = DecodingOptions()
    return DecodingOptions(
        num_beams=spec.num_beams or default.num_beams,
        max_new_tokens=spec.max_new_tokens or default.max_new_tokens,
    )


def parse_end(
    spec: TaskSpec,
    ended: SequenceFinished,
    token_table: TokenTable,
    size: ImageSize,
    calibration: Calibration = UNCALIBRATED,
) -> Answer:
    """Return the answer that tokens hold; of candidates the likeliest, with the scores of all.

    Args:
        spec: The task, with the inputs that it followed.
        ended: The end of its sequence, with tokens.
        token_table: What the tokens mean.
        size: The size of the image as a viewer shows it.
        calibration: That of the model.
    """

    def read(decoded: Decoded) -> Answer:
        return parse(
            spec.task,
            decoded,
            token_table,
            size,
            region=spec.region,
            classes=spec.classes,
            min_score=spec.min_score,
            calibration=calibration,
        )

    if ended.value is not None:
        answer = Answer(ended.value, None, ended.finish_reason, raw_text="", token_count=0)
        return answer if spec.min_score is None else answer.above(spec.min_score)
    if ended.candidates:
        return rank_candidates([read(one) for one in ended.candidates], ended.candidates)
    return read(
        Decoded(
            ended.token_ids,
            ended.logprobs,
            ended.finish_reason,
            deviations=ended.deviations,
            end_chances=ended.end_chances,
        )
    )


def run_to_end(engine: Engine, requests: Iterable[SequenceRequest]) -> list[SequenceFinished]:
    """Run sequences together, and return their ends in the order of the requests.

    For an engine without other sequences, on the thread that owns it.
    """
    waiting = []
    for request in requests:
        engine.submit(request)
        waiting.append(request.sequence_id)
    ends: dict[str, SequenceFinished] = {}
    while len(ends) < len(waiting):
        for event in engine.step():
            if isinstance(event, SequenceFinished):
                ends[event.sequence_id] = event
    return [ends[sequence_id] for sequence_id in waiting]
