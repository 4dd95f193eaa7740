"""Log lines: what machines and people get to read."""

from __future__ import annotations

import json
import logging
import sys

from arno.ops.logs import JsonFormatter, TextFormatter


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "arno.x", "levelno": 30, "levelname": "WARNING", "msg": message, "args": arguments}
    )
    vars(made).update(extra)
    return made


def test_json_lines_carry_the_process_the_trace_and_the_extra_fields() -> None:
    line = JsonFormatter("worker", lambda: "ab" * 16).format(record("lost %s", 3, job_id="j1"))
    event = json.loads(line)
    assert event["message"] == "lost 3"
    assert event["process"] == "worker"
    assert event["job_id"] == "j1"
    assert event["trace_id"] == "ab" * 16
    assert event["level"] == "WARNING"
    assert event["time"].endswith("Z")
    assert "\n" not in line


def test_a_trace_id_given_by_the_caller_is_kept() -> None:
    event = json.loads(JsonFormatter("x", lambda: "other").format(record("m", trace_id="mine")))
    assert event["trace_id"] == "mine"


def test_json_lines_survive_values_that_json_does_not_know() -> None:
    event = json.loads(JsonFormatter("x", lambda: None).format(record("m", odd={1, 2}, text="é\n")))
    assert event["odd"] == "{1, 2}"
    assert event["text"] == "é\n"


def test_exceptions_are_one_field_and_one_line() -> None:
    try:
        raise ValueError("boom")
    except ValueError:
        made = record("failed", exc_info=sys.exc_info())
    line = JsonFormatter("x", lambda: None).format(made)
    assert "ValueError: boom" in json.loads(line)["exception"]
    assert "\n" not in line


def test_text_lines_leave_out_the_list_of_settings() -> None:
    made = record("starts: --bus redis", settings={"bus": "redis", "window": 64})
    assert "window" not in TextFormatter("gateway", lambda: None).format(made)
    assert "window" in JsonFormatter("gateway", lambda: None).format(made)


def test_text_lines_show_level_message_and_fields() -> None:
    line = TextFormatter("gateway", lambda: None).format(record("slow", job_id="j1"))
    assert "WARNING" in line
    assert "slow" in line
    assert "j1" in line
