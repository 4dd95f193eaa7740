"""The command line of a script that generates files, or compares them with its source."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from sources import ROOT


def write_or_check(
    description: str | None, generate: Callable[[], Mapping[Path, str]], target: str
) -> int:
    """Run the command line; return 1 where ``--check`` finds a difference.

    Args:
        description: For ``--help``: the docstring of the script.
        generate: Returns the text of each generated file.
        target: The target of the Makefile that writes the files.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="change nothing; fail on a difference")
    check = parser.parse_args().check
    stale = [
        (path, text)
        for path, text in generate().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in stale:
        if check:
            name = path.relative_to(ROOT)
            sys.stderr.write(f"{name}: differs from its source; run `make {target}`\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return int(check and bool(stale))
