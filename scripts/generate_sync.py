"""Generate the blocking client from the asyncio client, or check that it is up to date.

`services/arno/client/aio.py` is written by hand. `sync.py` beside it is the same program without
`async` and `await`. The source is changed token by token, so that comments, types and docstrings
stay. Two tables hold the other differences: names, and phrases of docstrings.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from generated_files import write_or_check
from sources import ROOT

CLIENT = ROOT / "services" / "arno" / "client"
WRITTEN, GENERATED = CLIENT / "aio.py", CLIENT / "sync.py"

NAMES = {
    "AsyncClient": "Client",
    "AsyncFrames": "Frames",
    "AsyncImages": "Images",
    "AsyncIterator": "Iterator",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "ask_many_async": "ask_many",
    "messages_async": "messages",
    "open_aio_channel": "open_channel",
}

PHRASES = {
    """The asyncio client of a gateway.

The blocking client in `arno.client.sync` is generated from this file by `scripts/generate_sync.py`.
Change this file, then run `make sync`.
""": """The blocking client of a gateway.

Generated from `aio.py` by `scripts/generate_sync.py`; never edited.
""",
    "An asyncio client of a gateway.": "A blocking client of a gateway.",
    "A client may be shared by the tasks of one event loop: the loop in which it is first used.": (
        "A client may be shared by threads."
    ),
    "async with arno.AsyncClient": "with arno.Client",
    "await client.": "client.",
}


def generated() -> dict[Path, str]:
    """Return the text of the generated file."""
    return {GENERATED: generate(WRITTEN.read_text(encoding="utf-8"))}


def generate(source: str) -> str:
    """Return the blocking form of an asyncio program, formatted.

    Raises:
        ValueError: A name or a phrase of the tables is nowhere in the source.
    """
    unused = (set(NAMES) | set(PHRASES)) - {
        known for known in (*NAMES, *PHRASES) if known in source
    }
    if unused:
        raise ValueError(f"not in {WRITTEN.name}: {sorted(unused)}")
    return formatted("".join(pieces(source)))


def pieces(source: str) -> Iterator[str]:
    """Yield the blocking program in pieces: each token with the whitespace before it."""
    # Where each line begins; tokens count lines from 1, and the last one stands behind the text.
    begins = [0, *accumulate(map(len, source.splitlines(keepends=True)), initial=0)]
    position = 0
    dropped = False
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        start = begins[token.start[0]] + token.start[1]
        # The whitespace after a dropped word goes with it.
        yield "" if dropped else source[position:start]
        dropped = token.type == tokenize.NAME and token.string in {"async", "await"}
        if not dropped:
            yield blocking(token)
        position = begins[token.end[0]] + token.end[1]


def blocking(token: tokenize.TokenInfo) -> str:
    """Return a token as the blocking program has it."""
    if token.type == tokenize.NAME:
        return NAMES.get(token.string, token.string)
    if token.type == tokenize.STRING and token.string.startswith('"""'):
        text = token.string
        for phrase, other in PHRASES.items():
            text = text.replace(phrase, other)
        return text
    return token.string


def formatted(program: str) -> str:
    """Return the program with sorted imports, as `ruff format` writes it."""
    ruff = Path(sys.executable).parent / "ruff"
    name = ["--stdin-filename", str(GENERATED)]
    for words in (["check", "--quiet", "--fix", "--select=I"], ["format", "--quiet"]):
        command = [str(ruff), *words, *name, "-"]
        done = subprocess.run(command, input=program, capture_output=True, text=True, check=True)
        program = done.stdout
    return program


if __name__ == "__main__":
    sys.exit(write_or_check(__doc__, generated, "sync"))
