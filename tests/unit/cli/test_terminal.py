"""Text of strangers reaches no terminal with its control characters."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import arno.cli
import pytest
from arno.cli.main import show_error
from arno.cli.tables import print_result
from arno.cli.terminal import SafeConsole, echo
from arno.client.export import json_lines
from arno.errors import ArnoError
from arno.ops.printable import printable
from arno.vocabulary.wire_results import infer_result
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text
from support.answers import caption, detection, failure, region, response

HOSTILE = [
    "\x1b[2J\x1b[31mcat",
    "\x1b]0;owned\x07cat",
    "\x9b2Jcat",
    "ca\x08\x08t\r",
    "cat\x7f\x00",
    "\u202ecat\u2066",
]
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("text", HOSTILE)
def test_table_of_answers_shows_control_characters_and_does_not_send_them(text):
    out = io.StringIO()
    results = response(
        detection(region(text, 1, 2, 3, 4)), caption(text), failure("ENGINE_FAILED", text)
    )
    print_result(SafeConsole(file=out, width=100), f"{text}.jpg", infer_result(results))
    said = out.getvalue()
    assert not FORBIDDEN.search(said)
    assert said.count("cat") >= 3 or "ca\\u0008" in said
    assert "\\u" in said


@pytest.mark.parametrize("text", HOSTILE)
def test_colours_of_a_terminal_are_rich_s_own(text):
    # Rich's own Text drops these five.
    without = re.sub("[\x07\x08\x0b\x0c\r]", "", text)
    out = io.StringIO()
    console = SafeConsole(file=out, force_terminal=True, color_system="standard", width=100)
    console.print(Text(text), style="red")
    assert re.sub(r"\x1b\[(31|0)m", "", out.getvalue()) == f"{printable(without)}\n"


@pytest.mark.parametrize("text", HOSTILE)
def test_lines_and_errors_hold_none(text, capsys):
    echo(f"job {text}")
    echo(text, err=True)
    show_error(ArnoError(text), about=text)
    said = capsys.readouterr()
    assert not FORBIDDEN.search(said.out + said.err)


@given(st.text())
def test_json_is_read_back_as_it_was(text):
    (line,) = json_lines(text, infer_result(response(caption(text))))
    assert not FORBIDDEN.search(line)
    read = json.loads(line)
    assert read["file"] == text
    assert read["results"][0]["answer"].get("text", {}).get("text", "") == text


def test_no_verb_prints_past_it():
    folder = Path(arno.cli.__file__).parent
    past = re.compile(r"click\.s?echo\(|\bConsole\(|(?<![\w.])print\(")
    found = [
        f"{path.name}: {line.strip()}"
        for path in folder.glob("*.py")
        for line in path.read_text().splitlines()
        if past.search(line) and path.name not in {"terminal.py", "main.py"}
    ]
    assert found == []
