"""A bridge between two topics, killed with all that it needs; and what its judge finds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import click
import pytest
from chaos.bridge import BridgeRun, run_bridge
from chaos.bridge_judge import PROMPT, judge_topics, repeats
from chaos.echo_engine import echo
from support.availability import require
from support.kafka_broker import WAYS_TO_GET_IT, kafka_available
from support.kafka_topics import Found

KEYS = [b"door", b"yard"]


def image(number: int) -> Found:
    return Found(0, number, KEYS[number % 2], b"image %d" % number, [], 0)


def answer(asked: Found) -> Found:
    text = echo(hashlib.sha256(asked.value or b"").hexdigest(), PROMPT)
    value = {"response": {"results": [{"answer": {"text": {"text": text}}}]}}
    header = ("arno-id", f"photos/{asked.partition}/{asked.offset}".encode())
    return Found(0, 0, asked.key, json.dumps(value).encode(), [header], 0)


SOURCE = [image(number) for number in range(6)]
ANSWERS = [answer(one) for one in SOURCE]


def judged(results: list[Found], dead: list[Found] | None = None) -> str:
    return " ".join(judge_topics(SOURCE, results, dead or [], topic="photos"))


def test_judge_finds_nothing_in_answers_that_come_again_in_order() -> None:
    again = [*ANSWERS[:4], *ANSWERS[2:]]
    assert (judged(again), repeats(again)) == ("", 2)


@pytest.mark.parametrize(
    ("results", "dead", "said"),
    [
        (ANSWERS[:-1], [], "not answered: 1 (photos/0/5)"),
        ([*ANSWERS, answer(image(9))], [], "never asked: 1 (photos/0/9)"),
        (ANSWERS, ANSWERS[:1], "dead letters: 1 (photos/0/0)"),
        ([ANSWERS[2], ANSWERS[0], *ANSWERS[1:]], [], "keys out of order: 1 (door)"),
        ([replace(ANSWERS[0], value=ANSWERS[1].value), *ANSWERS[1:]], [], "answered falsely: 1"),
        ([replace(ANSWERS[0], key=b"yard"), *ANSWERS[1:]], [], "answered falsely: 1 (photos/0/0)"),
    ],
    ids=["lost", "invented", "dead", "overtaken", "false", "other key"],
)
def test_judge_finds_each_planted_fault(results: list[Found], dead: list[Found], said: str) -> None:
    assert said in judged(results, dead)


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.timeout(400)
def test_bridge_broker_gateway_and_worker_are_killed_under_load_and_every_image_is_answered(
    tmp_path: Path,
) -> None:
    require(kafka_available(), WAYS_TO_GET_IT)
    run = BridgeRun(kills=4, every=40, rate_per_s=30.0, settle_s=180.0)
    verdict = run_bridge(tmp_path, run, click.echo)
    assert verdict.kept, "\n".join(verdict.lines())
    assert set(verdict.kills) == {"bridge", "broker", "gateway", "worker"}
    assert verdict.inputs >= 160
