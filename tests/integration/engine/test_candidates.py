"""Given answers get the probabilities that the model's own forward pass gives their tokens."""

from __future__ import annotations

import math
from pathlib import Path

import arno
import pytest
import torch
from arno.engine import EngineSettings, answer_scoring, create_engine
from arno.engine.checkpoints.folders import TINY_MODEL, find_model
from arno.engine.interface import SequenceFinished
from arno.errors import InvalidFieldError, LimitExceededError
from arno.vocabulary import Box, FinishReason, ImageSize, Region, Task, build_prompt
from arno.vocabulary.candidates import write_candidates
from PIL import Image
from support.engine_runs import GREEDY, Reference, picture, request, run_all, submit_all

pytestmark = pytest.mark.model

PHOTO = Path(__file__).parents[3] / "examples" / "images" / "wide.jpg"
CAT = Region("cat", Box(10, 20, 100, 140))
ANSWERS = {
    Task.CAPTION: ("a cat on a sofa", "", "two red balloons and a tree in a field"),
    Task.OD: ((CAT,), (CAT, Region("dog", Box(30, 30, 90, 80)))),
    Task.REGION_TO_CATEGORY: ("cat", "dog", "balloon", "traffic light"),
}


@pytest.fixture(scope="module")
def tiny():
    engine = create_engine(EngineSettings(model=TINY_MODEL, device="cpu", dtype="float32"))
    yield engine
    engine.close()


def asked_of(image, task, **changes):
    region = Box(4, 4, 60, 50) if task is Task.REGION_TO_CATEGORY else None
    return request(
        task.value,
        image,
        build_prompt(task, region=region, size=image.size),
        candidates=write_candidates(task, ANSWERS[task], image.size),
        **changes,
    )


def expected(reference, asked, ids):
    """Log-probabilities of transformers' own forward pass: it makes the decoder's input itself."""
    with torch.inference_mode():
        logits = reference.network(
            input_ids=reference.input_ids(asked),
            pixel_values=reference.pixels(asked),
            labels=torch.tensor([ids]),
        ).logits[0]
    return logits.log_softmax(-1)[torch.arange(len(ids)), torch.tensor(ids)].tolist()


def test_log_likelihoods_are_those_of_transformers(tiny):
    reference = Reference(find_model(TINY_MODEL))
    # Another file of the same picture: one that was encoded before comes without pixels.
    image = tiny.prepare(PHOTO.read_bytes() + b"another")
    requests = [asked_of(image, task) for task in ANSWERS]
    submit_all(tiny, requests)  # one batch of prompts and answers of different lengths
    ends = run_all(tiny)
    for asked in requests:
        end = ends[asked.sequence_id]
        assert end.finish_reason is FinishReason.STOP
        assert len(end.candidates) == len(asked.candidates)
        for text, scored in zip(asked.candidates, end.candidates, strict=True):
            assert tiny.token_table.decode(scored.token_ids[1:-1]) == text
            assert (scored.token_ids[0], scored.token_ids[-1]) == (0, 2)
            wanted = expected(reference, asked, list(scored.token_ids))
            assert scored.logprobs[0] == 0.0
            assert scored.logprobs[1:] == pytest.approx(wanted[1:], abs=1e-4)
        likeliest = max(end.candidates, key=lambda one: sum(one.logprobs))
        assert end.token_ids == likeliest.token_ids


def test_the_models_own_answer_gets_the_probabilities_that_its_search_gave_it(tiny):
    image = tiny.prepare(PHOTO.read_bytes())
    written = request("w", image, build_prompt(Task.OD, size=image.size), GREEDY)
    submit_all(tiny, [written])
    own = run_all(tiny)["w"]
    text = tiny.token_table.decode(own.token_ids[1:-1])
    submit_all(tiny, [request("s", image, written.prompt, GREEDY, candidates=(text,))])
    (scored,) = run_all(tiny)["s"].candidates
    kept = len(own.token_ids) - 1  # the limit on tokens forced the last
    assert scored.token_ids[:kept] == own.token_ids[:kept]
    assert scored.logprobs[:kept] == pytest.approx(own.logprobs[:kept], abs=1e-4)
    assert scored.deviations[:kept] == pytest.approx(own.deviations[:kept], abs=1e-2)
    assert scored.end_chances[:kept] == pytest.approx(own.end_chances[:kept], abs=1e-4)


def test_neighbours_change_neither_scores_nor_what_others_write(make_engine):
    engine = make_engine()
    images = [engine.prepare(picture(seed)) for seed in range(3)]
    scored = [
        request(f"s{n}", image, "What?" * (n + 1), candidates=("a", "bb" * (n + 1), "ccc"))
        for n, image in enumerate(images)
    ]
    written = [request(f"w{n}", image) for n, image in enumerate(images)]
    alone = {}
    for asked in (*scored, *written):
        submit_all(engine, [asked])
        alone |= run_all(engine)
    submit_all(engine, [each for pair in zip(scored, written, strict=True) for each in pair])
    together = run_all(engine)
    for asked in written:
        assert together[asked.sequence_id].token_ids == alone[asked.sequence_id].token_ids
    for asked in scored:
        pairs = zip(
            together[asked.sequence_id].candidates, alone[asked.sequence_id].candidates, strict=True
        )
        for one, other in pairs:
            assert one.token_ids == other.token_ids
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def test_more_answers_than_a_pass_holds_keep_their_order(make_engine):
    engine = make_engine()
    image = engine.prepare(picture(1))
    candidates = tuple("x" * (1 + n * 7 % 41) for n in range(40))
    submit_all(engine, [request("many", image, candidates=candidates)])
    scored = run_all(engine)["many"].candidates
    assert [engine.token_table.decode(one.token_ids[1:-1]) for one in scored] == list(candidates)


def test_an_answer_longer_than_the_model_fails_alone(make_engine):
    engine = make_engine()
    image = engine.prepare(picture(1))
    limit = engine.card.position_count
    submit_all(
        engine,
        [
            request("long", image, candidates=("q7" * limit,)),
            request("short", image, candidates=("q7",)),
        ],
    )
    ends = run_all(engine)
    assert isinstance(ends["long"].error, LimitExceededError)
    assert f"{limit} tokens" in ends["long"].error.message
    assert ends["short"].finish_reason is FinishReason.STOP


def test_a_pass_that_fails_ends_only_the_guilty_sequence(make_engine, monkeypatch):
    engine = make_engine()
    score = engine._scorer.score

    def fail_on_guilty(sequences):
        if any(sequence.sequence_id == "guilty" for sequence in sequences):
            raise RuntimeError("a broken kernel")
        return score(sequences)

    monkeypatch.setattr(engine._scorer, "score", fail_on_guilty)
    image = engine.prepare(picture(1))
    names = ("one", "guilty", "two")
    submit_all(engine, [request(name, image, candidates=("a", "b")) for name in names])
    ends = run_all(engine)
    reasons = [ends[name].finish_reason for name in names]
    assert reasons == [FinishReason.STOP, FinishReason.ERROR, FinishReason.STOP]


def test_the_true_category_of_a_region_is_the_likeliest():
    with arno.load("tiny") as florence:
        picture = Image.open(PHOTO)
        found = max(florence.ask(picture, "OD")["OD"].regions, key=lambda region: region.score)
        names = [found.label, "cactus", "snowman", "anchor"]
        spec = arno.TaskRequest("REGION_TO_CATEGORY", region=found.shape)
        scored = florence.score(picture, spec, names)
        assert scored[0].posterior == max(one.posterior for one in scored) > 0.5
        assert sum(one.posterior for one in scored) == pytest.approx(1.0)
        assert [one.answer.value.text for one in scored] == names
        assert scored[0].log_likelihood == pytest.approx(sum(scored[0].token_logprobs))

        labels = [[Region(name, found.shape)] for name in names]
        right, *wrong = florence.score(picture, "OD", labels)
        assert all(right.log_likelihood > one.log_likelihood for one in wrong)
        (region,) = right.answer.regions
        assert region.label == found.label
        assert region.location_score == pytest.approx(found.location_score, abs=0.1)
        with pytest.raises(InvalidFieldError, match=r"candidates\[0\]\.regions\[0\]"):
            florence.score(picture, "CAPTION", [[CAT]])


def test_posteriors_of_unlikely_answers_are_still_shares(tiny):
    image = tiny.prepare(PHOTO.read_bytes())
    size = ImageSize(image.size.width_px, image.size.height_px)
    texts = write_candidates(Task.CAPTION, ["zq" * 100, "qz" * 120], size)
    prompt = build_prompt(Task.CAPTION, size=size)
    submit_all(tiny, [request("c", image, prompt, candidates=texts)])
    assert all(math.isfinite(sum(one.logprobs)) for one in run_all(tiny)["c"].candidates)


def test_scoring_of_many_answers_leaves_steps_for_others_and_can_be_cancelled(tiny, monkeypatch):
    image = tiny.prepare(picture(1))
    many = tuple("x" * (1 + n % 30) for n in range(40))
    submit_all(tiny, [request("at once", image, candidates=many)])
    expected = run_all(tiny)["at once"].candidates
    monkeypatch.setattr(answer_scoring, "CALL_TOKENS_MAX", 16)

    submit_all(tiny, [request("cancelled", image, candidates=many)])
    read = tiny.statistics().token_count
    while tiny.statistics().token_count == read:
        assert not ended(tiny)
    tiny.cancel("cancelled")
    (cut,) = ended(tiny)
    assert (cut.finish_reason, cut.candidates) == (FinishReason.CANCELLED, ())

    steps = tiny.statistics().step_count
    submit_all(tiny, [request("scored", image, candidates=many), request("written", image)])
    ends: list[SequenceFinished] = []
    while "scored" not in (end.sequence_id for end in ends):
        ends += ended(tiny)
    assert tiny.statistics().step_count > steps
    scored = next(end for end in ends if end.sequence_id == "scored").candidates
    assert [one.token_ids for one in scored] == [one.token_ids for one in expected]
    for one, other in zip(scored, expected, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    run_all(tiny)


def ended(engine) -> list[SequenceFinished]:
    return [event for event in engine.step() if isinstance(event, SequenceFinished)]
