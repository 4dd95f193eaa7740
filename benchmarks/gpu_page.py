"""Write docs/gpu.md from what `benchmarks.gpu_parts` printed: `python -m benchmarks.gpu_page`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

FIGURES: Final = Path("benchmarks/results/gpu-parts.jsonl")
PAGE: Final = Path("docs/gpu.md")

_INTRODUCTION: Final = """# On a GPU

This page is written by `python -m benchmarks.gpu_page` from the figures that
`python -m benchmarks.gpu_parts exactness encode decode serve:64:16 serve:128:16` printed on a
machine with {machine}, kept in [`{figures}`](../{figures}).
The model is Florence-2 base in its real shape, with random weights and in bfloat16, unless a row
says otherwise.
"""

_READ_MS: Final = 1e3 * 0.203e9 / 3.35e12
"""To read what a step of one sequence of base cannot do without, by an H100's data sheet."""

_OPEN: Final = """
## What bounds it

A caption takes 6.3 ms, of which encoding takes 2.1 and decoding half a millisecond. The rest was
not traced; the likely cause is that the engine's thread, after each wait for the GPU, waits for the
interpreter, too, which 14 threads that prepare images share. Since that run the interpreter
switches threads after 0.5 ms in place of 5 ms on a GPU (`engine/checkpoints/load.py`), and a group
that joins sends its numbers from pinned memory: a copy from other memory waits for the images that
are being encoded, and each wait is one for the interpreter, too. What both gain has not been
measured. Not measured either: the whole service with its bus and store, the large model, and other
programs on the same card.

The first start compiles the vision encoder, which takes two minutes; later starts find it in
`TORCHINDUCTOR_CACHE_DIR` and take seconds. Without a C compiler the encoder runs uncompiled, as
`--vision-compile off` has it run, at two thirds of the speed.

## Measure it again

    benchmarks/gpu 1 OUT    # exactness, waits for the GPU, decode steps, captions, encoding
    benchmarks/gpu 2 OUT    # exactness, a full card, a lost card, and the suite beside transformers

Neither takes ten minutes or needs a network. Each part is a process of its own with a limit
(`benchmarks/gpu_runs.py`), and a figure is kept as soon as it is known. `benchmarks/gpu --dry-run`
runs the same code on a CPU with a model of no size.
"""


def write_page(lines: Sequence[dict[str, Any]]) -> str:
    """Return the page, in Markdown, of the figures as they were printed, the machine first."""
    parts = [
        _INTRODUCTION.format(machine=lines[0]["machine"], figures=FIGURES),
        _section(
            "Are its answers exact?",
            "arno-tiny in float32 on the GPU, against transformers on the CPU: 24 questions in "
            "four tasks, greedy and with 3 beams, in one batch, first launched kernel by kernel, "
            "then recorded.",
            ("turn", "equal token ids", "of", "failed"),
            (
                (each["turn"] + 1, each["equal"], each["of"], each["failed"])
                for each in lines
                if each.get("part") == "exactness" and "equal" in each
            ),
        ),
        _section(
            "Captions a second, from image files to tokens",
            "Different images of 640 x 480 pixels, 16 tokens with 3 beams, 14 threads that prepare "
            "images. Aim: 250.",
            ("sequences together", "images encoded together", "captions a second"),
            (
                (each["sequences"], each["group"], f"{each['captions_s']:.0f}")
                for each in lines
                if each.get("part") == "serve" and "captions_s" in each
            ),
        ),
        _section(
            "Decode steps",
            "Recorded steps without joining and leaving. Aims: 128 rows of greedy search at 23,500 "
            "tokens a second (TensorRT-LLM with BART-large on an H100), and 0.9 of that in rows "
            "with 3 beams; one sequence within twice the time that its weights take to be read, "
            f"which is {2 * _READ_MS:.2f} ms (0.2 GB at 3.35 TB/s) and was missed: some 300 "
            "kernels follow one another.",
            ("beams", "sequences", "step, ms", "tokens a second", "rows a second"),
            (
                (
                    each["beams"],
                    each["sequences"],
                    f"{each['step_ms']:.2f}",
                    f"{each['tokens_s']:,.0f}",
                    f"{each['tokens_s'] * each['beams']:,.0f}",
                )
                for each in lines
                if each.get("part") == "decode"
            ),
        ),
        _section(
            "Encoding images",
            "The peak is that of dense bfloat16 products, 989 TFLOP/s. Aim: 35 %.",
            ("vision encoder", "images", "ms an image", "of the peak"),
            (
                (each["form"], each["images"], f"{each['ms_image']:.2f}", f"{each['peak']:.1%}")
                for each in lines
                if each.get("part") == "encode" and "form" in each
            ),
        ),
    ]
    return "\n".join(parts) + _OPEN


def _section(title: str, text: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    table = [head, ["---"] * len(head), *rows]
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in table]
    return "\n".join([f"## {title}", "", text, "", *lines, ""])


def read_figures() -> list[dict[str, Any]]:
    """Return the figures that are kept."""
    return [json.loads(line) for line in FIGURES.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    PAGE.write_text(write_page(read_figures()), encoding="utf-8")
