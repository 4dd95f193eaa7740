"""Two prepared runs on a machine with a GPU: `python -m benchmarks.gpu_runs 1`, and then 2.

Neither takes ten minutes. Each part is a process of its own with a limit, so that one that hangs or
loses the GPU leaves the others theirs; every line that a part prints is kept at once.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

LIMIT_S: Final = 590.0
"""Most seconds of a run: machines with GPUs are lent for ten minutes."""


_SLOWER: Final = 5
"""What a part may take on a CPU, over its limit on a GPU."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process of a run.

    Attributes:
        seconds_max: When it is ended.
        words: Its command line behind `python -m`.
    """

    seconds_max: float
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it measures."""
        words = itertools.takewhile(lambda word: not word.startswith("-"), self.words[1:])
        return " ".join(words)


def _parts(*words: str, seconds_max: float) -> Part:
    return Part(seconds_max, ("benchmarks.gpu_parts", *words))


RUNS: Final = {
    1: (
        _parts("machine", seconds_max=30),
        _parts("exactness", seconds_max=90),
        _parts("waits", seconds_max=60),
        _parts("decode", seconds_max=110),
        # The first one compiles; the others find what it made.
        _parts("serve:64:16", "--count", "2000", seconds_max=170),
        _parts("serve:128:16", "--count", "2000", seconds_max=50),
        _parts("encode", seconds_max=80),
    ),
    2: (
        _parts("machine", seconds_max=30),
        _parts("exactness", seconds_max=60),
        _parts("serve:64:16", "--count", "2000", seconds_max=170),
        _parts("full", seconds_max=50),
        _parts("lost", seconds_max=30),
        Part(250, ("benchmarks", "suite", "gpu", "--again", "--seconds", "230")),
    ),
}
"""What is learnt first is what the rest relies on."""


def run_parts(parts: Sequence[Part], out: Path, options: Sequence[str] = ()) -> list[str]:
    """Run parts one after the other; return the names of those that failed or were ended.

    Args:
        parts: What to run.
        out: Folder of the results; lines go to `gpu-parts.jsonl` in it as they are printed.
        options: Added to the command line of each of `benchmarks.gpu_parts`.
    """
    out.mkdir(parents=True, exist_ok=True)
    failed = []
    for part in parts:
        began_s = time.monotonic()
        with (out / "gpu-parts.jsonl").open("a", encoding="utf-8") as lines:
            ended = _run(part, lines.fileno(), out, options)
            seconds = round(time.monotonic() - began_s, 1)
            lines.write(json.dumps({"run": part.name, "seconds": seconds, "ended": ended}) + "\n")
        if ended != "well":
            failed.append(part.name)
    return failed


def _run(part: Part, stdout: int, out: Path, options: Sequence[str]) -> str:
    own = part.words[0] == "benchmarks.gpu_parts"
    more = options if own else ("--out", str(out))
    try:
        done = subprocess.run(
            [sys.executable, "-m", *part.words, *more],
            stdout=stdout if own else None,
            timeout=part.seconds_max,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"after {part.seconds_max:g} s, which is its limit"
    return "well" if done.returncode == 0 else f"with {done.returncode}"


def main() -> int:
    """Run the parts of a run; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=int, choices=RUNS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    given = parser.parse_args()
    parts, options = RUNS[given.run], ["--device", given.device]
    if given.device == "cpu":
        # The same code with a model of no size; the suite has a dry run of its own.
        parts = tuple(
            replace(part, seconds_max=_SLOWER * part.seconds_max)
            for part in parts
            if part.words[0] == "benchmarks.gpu_parts"
        )
        options += ["--model", "dry", "--dtype", "float32", "--count", "32", "--seconds", "0.05"]
    failed = run_parts(parts, given.out, options)
    for name in failed:
        print(f"failed: {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
