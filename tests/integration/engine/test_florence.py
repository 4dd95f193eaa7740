"""The front door of the engine: the client's results, from a model in this process."""

from __future__ import annotations

import gc
import itertools
import threading

import arno
import pytest
from arno.engine.continuous_engine import ContinuousEngine
from arno.engine.in_process.florence import Florence, load
from arno.errors import (
    CancelledError,
    ConfigurationError,
    EngineError,
    InvalidFieldError,
    InvalidImageError,
    ModelError,
)
from arno.images.input import encode_image
from arno.vocabulary import Box, Decoded, Task, build_prompt, parse
from PIL import Image
from support.engine_runs import picture, request

pytestmark = pytest.mark.model

GREEDY = {"num_beams": 1, "max_new_tokens": 12}


@pytest.fixture
def open_engine(make_engine):
    def make():
        engine = make_engine()
        engine.close = lambda: None  # the checkpoint is shared with other tests
        return engine

    return make


@pytest.fixture
def florence(open_engine):
    with Florence(open_engine(), in_flight_max=8) as made:
        yield made


def test_answers_are_those_of_transformers(florence, make_engine, reference):
    engine = make_engine()
    for seed, task in itertools.product(range(3), (Task.OD, Task.CAPTION)):
        image = engine.prepare(picture(seed))
        asked = request("a", image, build_prompt(task, size=image.size))
        asked = request("a", image, asked.prompt, asked.options)
        expected = parse(
            task, Decoded(reference.answer(asked)), engine.token_table, image.size
        ).raw_text
        got = florence.ask(picture(seed), task, num_beams=3, max_new_tokens=20)
        assert got[task].answer.raw_text == expected


def test_results_of_many_images_are_those_of_each_alone_in_their_order(florence):
    pictures = [picture(seed) for seed in range(20)]
    alone = [florence.ask(each, "OD", "CAPTION", **GREEDY) for each in pictures]
    together = list(florence.ask_many(iter(pictures), "OD", "CAPTION", **GREEDY))
    assert [one.image.sha256 for one in together] == [one.image.sha256 for one in alone]
    assert [[task.answer.raw_text for task in one] for one in together] == [
        [task.answer.raw_text for task in one] for one in alone
    ]


def test_images_are_all_that_the_client_takes(florence, tmp_path):
    file = tmp_path / "picture.png"
    file.write_bytes(picture(1))
    opened = Image.open(file)
    forms = [file, str(file), picture(1), opened, lambda: picture(1)]
    texts = {one["OD"].answer.raw_text for one in florence.ask_many(forms, "OD", **GREEDY)}
    assert len(texts) == 1


def test_pairs_ask_each_image_tasks_of_its_own(florence):
    pairs = [(picture(1), ["OD"]), (picture(2), [Task.CAPTION, "OCR"])]
    results = list(florence.ask_many(pairs, **GREEDY))
    assert [[task.task for task in one] for one in results] == [["OD"], ["CAPTION", "OCR"]]


def test_tasks_follow_tasks(florence):
    followed = arno.TaskRequest("PROMPT", text="anything", id="first")
    result = florence.ask(
        picture(3),
        followed,
        arno.TaskRequest("CAPTION_TO_PHRASE_GROUNDING", input_from="first"),
        **GREEDY,
    )
    said = result["first"].answer_text
    if said.strip():
        assert result["CAPTION_TO_PHRASE_GROUNDING"].text == said
    else:
        assert result["CAPTION_TO_PHRASE_GROUNDING"].error.reason == "INPUT_UNAVAILABLE"


def test_result_can_be_exported_as_one_of_the_client(florence):
    result = florence.ask(picture(3), "OD", **GREEDY)
    assert result.message.results[0].answer.raw_text == result["OD"].answer.raw_text
    assert result.message.image.sha256 == result.image.sha256


def test_bad_image_fails_alone_and_raises_where_it_is_read(florence):
    images = [picture(1), b"no image", "no-such-file.png", picture(2)]
    good, bad, missing, last = florence.ask_many(images, "OD", "CAPTION", **GREEDY)
    assert good.ok
    assert last.ok
    for failed in (bad, missing):
        assert failed.image is None
        assert isinstance(failed["CAPTION"].error, InvalidImageError)
        with pytest.raises(InvalidImageError):
            _ = failed["OD"].regions


def test_bad_image_of_one_question_is_raised(florence):
    with pytest.raises(InvalidImageError):
        florence.ask(b"no image", "OD")


def test_task_that_fails_alone_leaves_the_others(florence):
    outside = arno.TaskRequest("REGION_TO_OCR", region=Box(0, 0, 4000, 10))
    result = florence.ask(picture(1), outside, "OD", **GREEDY)
    assert isinstance(result["REGION_TO_OCR"].error, InvalidFieldError)
    assert result["OD"].ok


@pytest.mark.parametrize("tasks", [(), ("NO_SUCH_TASK",), ("REGION_TO_OCR",)])
def test_task_that_makes_no_sense_is_raised_before_any_image_is_taken(florence, tasks):
    images = iter([picture(1)])
    with pytest.raises(InvalidFieldError):
        list(florence.ask_many(images, *tasks))


@pytest.mark.parametrize("one", ["photo.jpg", b"a"], ids=["name", "bytes"])
def test_one_image_in_place_of_many_is_refused(florence, one):
    with pytest.raises(InvalidFieldError, match="several images"):
        florence.ask_many(one, "OD")


def test_images_are_taken_no_faster_than_they_are_answered(florence):
    taken = itertools.count()
    endless = (picture(next(taken) % 3) for _ in itertools.count())
    results = florence.ask_many(endless, "CAPTION", in_flight_max=4, **GREEDY)
    for _ in itertools.islice(results, 30):
        pass
    # Results that wait for an earlier one are bounded too: sixteen for each task in flight.
    assert next(taken) <= 30 + 16 * 4 + 1


def test_tasks_in_flight_are_no_more_than_asked_for(florence, monkeypatch):
    in_flight_counts = []
    step = ContinuousEngine.step

    def counted(engine):
        events = step(engine)
        now = engine.statistics()
        in_flight_counts.append(now.waiting_count + now.running_count)
        return events

    monkeypatch.setattr(ContinuousEngine, "step", counted)
    images = [picture(seed) for seed in range(20)]
    assert len(list(florence.ask_many(images, "CAPTION", in_flight_max=3, **GREEDY))) == 20
    assert 2 <= max(in_flight_counts) <= 3


def test_leaving_the_loop_cancels_what_is_in_flight(florence):
    results = florence.ask_many(itertools.repeat(picture(1)), "CAPTION", max_new_tokens=200)
    next(results)
    results.close()
    # The batch is free again: another question is answered at once.
    assert florence.ask(picture(2), "OD", **GREEDY).ok


def test_error_of_the_images_comes_after_the_results_before_it(florence):
    def images():
        yield picture(1)
        yield picture(2)
        raise LookupError("the camera is gone")

    results = florence.ask_many(images(), "CAPTION", **GREEDY)
    assert next(results).ok
    assert next(results).ok
    with pytest.raises(LookupError, match="camera"):
        next(results)


def test_question_within_a_loop_shares_the_batch(florence):
    images = [picture(seed) for seed in range(5)]
    for result in florence.ask_many(images, "OD", **GREEDY):
        assert result.ok
        assert florence.ask(picture(9), "CAPTION", **GREEDY).ok


def test_threads_share_one_model(florence):
    found: dict[int, str] = {}

    def ask(seed):
        found[seed] = florence.ask(picture(seed), "OD", **GREEDY)["OD"].answer.raw_text

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for seed, text in found.items():
        assert florence.ask(picture(seed), "OD", **GREEDY)["OD"].answer.raw_text == text
    assert len(found) == 6


def test_closed_model_answers_no_more_and_ends_what_is_open(open_engine):
    florence = Florence(open_engine(), in_flight_max=8)
    results = florence.ask_many(itertools.repeat(picture(1)), "CAPTION", max_new_tokens=200)
    assert next(results).ok
    florence.close()
    florence.close()
    with pytest.raises((CancelledError, RuntimeError)):
        for _ in results:
            pass
    with pytest.raises(RuntimeError, match="closed"):
        florence.ask(picture(1), "OD")


def test_model_without_users_closes_itself(open_engine):
    closed = threading.Event()
    engine = open_engine()
    engine.close = closed.set
    florence = Florence(engine)
    assert florence.ask(picture(1), "OD", **GREEDY).ok
    del florence
    gc.collect()
    assert closed.wait(20)


def test_engine_that_dies_fails_the_call_and_does_not_hang(open_engine):
    engine = open_engine()

    def broken():
        raise ValueError("a defect")

    engine.step = broken
    with Florence(engine) as florence, pytest.raises(EngineError, match="a defect"):
        florence.ask(picture(1), "OD")


def test_setting_that_cannot_be_used_is_named():
    with pytest.raises(ConfigurationError, match="devise"):
        load("tiny", devise="cpu")
    with pytest.raises(ConfigurationError, match="dtype"):
        load("tiny", dtype="int3")


def test_model_that_is_not_here_is_named():
    with pytest.raises(ModelError, match="no-such-model"):
        arno.load("./no-such-model")


def test_bundled_model_gives_the_clients_own_result():
    with arno.load("tiny", device="cpu") as florence:
        result = florence.ask(encode_image(Image.new("RGB", (64, 64), "white")), "CAPTION")
        assert result["CAPTION"].answer_text
        assert result.model.name == "tiny"
