"""The `openai` package, unchanged, against the OpenAI-compatible API."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import openai
import pytest
from arno.api.v1 import types_pb2
from support.answers import caption, detection, region, response
from support.images import png
from support.scripted_gateway import refusal

DATA_URL = "data:image/png;base64," + base64.b64encode(png()).decode()


@pytest.fixture
def client(url, gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="arno_key", max_retries=0) as client:
        yield client


def about(text: str, url: str = DATA_URL) -> list[dict]:
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]


def test_regions_are_a_list_of_boxes_with_their_unit(client, gateway):
    gateway.answer = response(detection(region("cat", 1, 2.004, 30, 40), region("dog", 5, 6, 7, 8)))
    answer = client.chat.completions.create(model="arno", messages=about("<OD>"))
    (choice,) = answer.choices
    assert json.loads(choice.message.content) == [
        {"bbox_2d": [1, 2, 30, 40], "label": "cat", "unit": "pixel"},
        {"bbox_2d": [5, 6, 7, 8], "label": "dog", "unit": "pixel"},
    ]
    extra = choice.message.model_extra
    assert extra["unit"] == "pixel"
    assert extra["regions"][0]["score"] == 0.9
    assert extra["regions"][0]["box"]["y0"] == 2.004
    assert choice.finish_reason == "stop"
    assert answer.usage.completion_tokens == 7
    assert gateway.keys == ["arno_key"]
    assert gateway.requests[0].image.content == png()


def test_text_is_the_content_and_a_cut_answer_says_so(client, gateway):
    gateway.answer = response(caption("A cat."))
    answer = client.chat.completions.create(
        model="arno", messages=about("What is it?"), max_completion_tokens=5
    )
    assert answer.choices[0].message.content == "A cat."
    assert answer.choices[0].finish_reason == "length"
    (task,) = gateway.requests[0].tasks
    assert (task.task, task.text) == (types_pb2.TASK_PROMPT, "What is it?")
    assert task.options.max_new_tokens == 5


def test_stream_gives_the_same_answer_in_parts(client, gateway):
    chunks = list(
        client.chat.completions.create(
            model="arno",
            messages=about("/detect"),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert json.loads(text)[0]["label"] == "cat"
    reasons = [one.choices[0].finish_reason for one in chunks if one.choices]
    assert reasons == [None, None, "stop"]
    assert chunks[-1].usage.total_tokens == 7


def test_question_may_follow_its_image_in_a_later_message(client, gateway):
    gateway.answer = response(caption("A cat."))
    messages = [
        *about("<OD>"),
        {"role": "assistant", "content": "[]"},
        {"role": "user", "content": "<CAPTION>"},
    ]
    client.chat.completions.create(model="arno", messages=messages)
    assert gateway.requests[0].tasks[0].task == types_pb2.TASK_CAPTION
    assert gateway.requests[0].image.content == png()


def test_model_is_listed_by_the_name_of_the_service_and_by_its_own(client):
    assert [model.id for model in client.models.list()] == ["arno", "arno-tiny"]
    assert client.models.retrieve("arno").owned_by == "arno"


def test_other_model_is_refused_by_name(client):
    with pytest.raises(openai.NotFoundError, match="'gpt-4o' is not served; allowed: arno"):
        client.chat.completions.create(model="gpt-4o", messages=about("<OD>"))
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (about("<OD>", "http://127.0.0.1/secret"), "addresses are not fetched"),
        ([{"role": "user", "content": "<OD>"}], "there is no image"),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], r"content\[0\].type: not read"),
        (about("<ODD>"), "did you mean OD"),
        (
            [{"role": "user", "content": about("")[1]["content"][:1] * 2}],
            r"messages\[0\].content: a message may hold one image; allowed: 1; sent: 2",
        ),
    ],
    ids=["an address", "no image", "another part", "no such task", "two images"],
)
def test_what_makes_no_sense_is_a_bad_request(client, gateway, messages, said):
    with pytest.raises(openai.BadRequestError, match=said) as caught:
        client.chat.completions.create(model="arno", messages=messages)
    assert caught.value.code == "INVALID_FIELD"
    assert not gateway.requests


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ((16, "UNAUTHENTICATED"), openai.AuthenticationError),
        ((8, "QUOTA_EXCEEDED"), openai.RateLimitError),
        ((13, "ENGINE_FAILED"), openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_refusal_is_the_error_that_the_package_has_for_it(client, gateway, fault, kind, stream):
    gateway.refuse = refusal(*fault, "it is so")
    with pytest.raises(kind, match="it is so"):
        client.chat.completions.create(model="arno", messages=about("<OD>"), stream=stream)


def test_task_that_failed_alone_is_an_error(client, gateway):
    failed = types_pb2.Error(code=13, reason="ENGINE_FAILED", message="it broke")
    gateway.answer = response(types_pb2.TaskResult(id="0", task=types_pb2.TASK_OD, error=failed))
    with pytest.raises(openai.InternalServerError, match="it broke"):
        client.chat.completions.create(model="arno", messages=about("<OD>"))
