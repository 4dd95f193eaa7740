"""Passwords and keys that somebody else put into a text never reach a log line."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from arno.ops.logs import JsonFormatter, TextFormatter
from arno.ops.masking import masked
from hypothesis import given
from hypothesis import strategies as st

KEY = "arno_k7m2q9xw_" + "aB3-_" * 8 + "xyz"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://me:hush@host:1/0", "redis://**********@host:1/0"),
        ("rediss://:hu@sh@host", "rediss://**********@host"),
        ("at redis://host/0?password=hush&db=1", "at redis://host/0?password=**********&db=1"),
        ("'authorization': 'Bearer hush'", "'authorization': 'Bearer **********'"),
        (f"x-api-key: {KEY}", "x-api-key: arno_k7m2q9xw_**********"),
        ("http://host/a@b and a@b", "http://host/a@b and a@b"),
        ("arno_gateway_open_requests", "arno_gateway_open_requests"),
        ("bearer", "bearer"),
    ],
)
def test_secrets_are_masked_and_nothing_else(text, shown):
    assert masked(text) == shown


def record_of(text):
    try:
        raise RuntimeError(f"cannot reach redis://me:hush@host with {KEY}")
    except RuntimeError:
        made = {"msg": "%s", "args": (text,), "levelname": "ERROR", "exc_info": sys.exc_info()}
        record = logging.makeLogRecord(made)
    vars(record).update(url="redis://me:hush@host", header=f"Bearer {KEY}")
    return record


@pytest.mark.parametrize("formatter", [JsonFormatter, TextFormatter])
def test_message_fields_and_traceback_of_a_line_are_masked(formatter):
    line = formatter("gateway", lambda: None).format(record_of("redis://me:hush@host"))
    assert "hush" not in line
    assert KEY not in line
    assert line.count("**********") >= 4


@given(
    st.text(alphabet=st.characters(codec="utf-8"))
    | st.sampled_from(['bearer "a', '://"@', "://\\u0022@x", "?token=\\", "Bearer a\\"]),
)
def test_masked_line_of_json_stays_one(text):
    line = JsonFormatter("gateway", lambda: None).format(record_of(text))
    assert json.loads(line)["level"] == "ERROR"
