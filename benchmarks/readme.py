"""Write the figures of the README from the files that hold them, so that none is typed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from benchmarks.tables import Result, busiest, figure, milliseconds, table
from benchmarks.targets import TARGETS, Target

_ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = _ROOT / "benchmarks" / "results"
README: Final = _ROOT / "README.md"
HELD_OUT: Final = _ROOT / "services" / "arno" / "engine" / "tiny" / "held_out.json"

_BEGIN: Final = "<!-- {name}: written by `python -m benchmarks report` -->"
_END: Final = "<!-- end of {name} -->"

_SCENES: Final = {
    "tiny": "like those of training",
    "tiny-full": "also crowds, small things, small print",
}
"""Kept reports of `arno eval`, and what is on their pictures."""

_TASKS: Final = (
    ("`OD`", "mAP@0.5, mAP@[.5:.95]", "OD", ("map_50", "map_50_95")),
    ("`CAPTION`", "F1 of the objects named", "CAPTION", ("object_f1",)),
    (
        "`CAPTION_TO_PHRASE_GROUNDING`",
        "accuracy@0.5",
        "CAPTION_TO_PHRASE_GROUNDING",
        ("accuracy_50",),
    ),
    (
        "`REFERRING_EXPRESSION_SEGMENTATION`",
        "mean IoU",
        "REFERRING_EXPRESSION_SEGMENTATION",
        ("mean_iou",),
    ),
    ("`OCR`", "character error", "OCR", ("character_error",)),
    ("`OCR_WITH_REGION`", "F1", "OCR_WITH_REGION", ("f1",)),
    ("`PROMPT` (how many, which colour, where)", "VQA accuracy", "PROMPT", ("vqa_accuracy",)),
)

_FIGURES: Final = (
    ("`OD`, precision and recall at IoU 0.5", ("OD precision_50", "OD recall_50")),
    (
        "`CAPTION_TO_PHRASE_GROUNDING`, accuracy@0.5",
        ("CAPTION_TO_PHRASE_GROUNDING accuracy_50",),
    ),
)


def write_readme(results: Mapping[str, Result]) -> None:
    """Write the figures into the README of this checkout."""
    README.write_text(with_figures(README.read_text(), results))


def with_figures(text: str, results: Mapping[str, Result]) -> str:
    """Return a page with its marked parts written anew.

    Args:
        text: The page.
        results: What was measured of speed, by name.

    Raises:
        ValueError: A part is not marked.
    """
    for name, block in (("tasks", tasks()), ("quality", quality()), ("speed", speed(results))):
        begin, end = _BEGIN.format(name=name), _END.format(name=name)
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise ValueError(f"the page has no part between {begin} and {end}")
        text = f"{before}{begin}\n\n{block}\n\n{end}{after}"
    return text


def tasks() -> str:
    """Return what `arno eval` found of arno-tiny, task by task."""
    found = [json.loads((RESULTS / "eval" / f"{name}.json").read_text()) for name in _SCENES]
    rows = [
        [
            words,
            figures,
            *(", ".join(f"{each['figures'][task][key]:.3f}" for key in keys) for each in found),
        ]
        for words, figures, task, keys in _TASKS
    ]
    data = ["", "", *(f"`{each['data']['name']}`" for each in found)]
    return table(["task", "figure", *_SCENES.values()], [data, *rows])


def quality() -> str:
    """Return how good arno-tiny is on usual scenes and on harder ones, from its own files."""
    held_out: Any = json.loads(HELD_OUT.read_text())
    figures = {(each["scenes"], each["figure"]): each for each in held_out["figures"]}
    rows = [["`OD`, mAP@[.5:.95]", _precision("tiny"), _precision("tiny-held-out"), ""]]
    for words, names in _FIGURES:
        usual, hard = (
            [figures[scenes, name] for name in names]
            for scenes in ("test split", "held-out families")
        )
        rows.append([words, _values(usual), _values(hard), f">= {hard[0]['aim']:g}"])
    phantoms = figures["held-out families, no object", "OD phantoms a scene"]
    aim = f"<= {phantoms['aim']:g}"
    rows.append(["objects reported on a picture without any", "", _values([phantoms]), aim])
    head = [
        f"{held_out['scenes']:,} pictures, fewer for the first row",
        "like those of training",
        "backgrounds and clutter held out of training",
        "aim",
    ]
    return table(head, rows)


def _precision(name: str) -> str:
    """Return the mean average precision of detection by calibrated scores."""
    scores: Any = json.loads((RESULTS / "scores" / f"{name}.json").read_text())
    rows = {(row["task"], row["formula"]): row for row in scores["rows"]}
    return f"{rows['OD', 'calibrated']['map_50_95']:.3f}"


def _values(figures: Sequence[Mapping[str, float]]) -> str:
    return ", ".join(f"{each['value']:.3f}" for each in figures)


def speed(results: Mapping[str, Result]) -> str:
    """Return how fast Arno is beside others, with what was aimed at."""
    claims = list(dict.fromkeys(target.claim for target in TARGETS if target.claim))
    head = ["", "Florence-2 base", "aim", "arno-tiny", "aim"]
    rows = [
        [claim, *_cells("base", claim, results), *_cells("tiny", claim, results)]
        for claim in claims
    ]
    measured = {name: results[name] for name in _NAMES if name in results}
    return "\n".join([table(head, rows), "", *_sentences(measured), *_machines(measured)])


def _cells(model: str, claim: str, results: Mapping[str, Result]) -> list[str]:
    found = [each for each in TARGETS if each.claim == claim and each.text.startswith(f"{model},")]
    return [_value(found[0], results), found[0].aim] if found else ["", ""]


def _value(target: Target, results: Mapping[str, Result]) -> str:
    try:
        return figure(target.measure(results))
    except KeyError:
        return "-"


_NAMES: Final = MappingProxyType(
    {
        "base-mix": "base",
        "base-fastest": "base in its fastest mode",
        "base-three-tasks": "three tasks on base",
        "base-stages": "decode steps",
        "base-starts": "starts",
        "tiny-mix": "arno-tiny",
        "tiny-three-tasks": "three tasks on arno-tiny",
        "tiny-video": "video",
        "overhead": "the service around the model",
    }
)


def _sentences(results: Mapping[str, Result]) -> list[str]:
    said = []
    for name, say in _SAID.items():
        if name in results:
            said.append(say(results[name]))
    return said


def _video(result: Result) -> str:
    arno, static = (result["engines"][name]["latency_s"]["p50"] for name in ("arno", "static"))
    return (
        f"A caption of a frame of video takes {milliseconds(arno)} ms in the median (static"
        f" batches: {milliseconds(static)} ms)."
    )


def _fastest(result: Result) -> str:
    engines = result["engines"]
    own = (name for name in engines if name.startswith("arno"))
    best = max(own, key=lambda name: float(engines[name]["throughput"]))
    return (
        f"The fastest mode of base is `{best}` ([what that is](docs/benchmarks.md)). On your"
        " pictures, `arno model verify --images`\nsays what it changes in a model's answers: the"
        " weights of base are random here."
    )


def _step(result: Result) -> str:
    step = result["stages"]["step, 4 requests x 3 beams"]
    return (
        f"On base a decode step of 4 requests takes {milliseconds(step['took_s'])} ms"
        f" (transformers: {milliseconds(step['transformers_s'])} ms)."
    )


def _overhead(result: Result) -> str:
    runs = {(run["rate"], run["concurrency"]): run for run in result["runs"]}
    single, busy, open_calls = (
        runs[key]["latency_s"]["p50"] for key in ((0, 1), (100, 0), (0, 128))
    )
    most = busiest(result)["jobs_per_s"]
    return (
        f"Kafka, Redis and gRPC add {milliseconds(single)} ms to a single request,"
        f" {milliseconds(busy)} ms at 100 requests a second,\n"
        f"and {milliseconds(open_calls)} ms with 128 open calls; they carry {figure(most)} jobs a"
        " second."
    )


_SAID: Final[Mapping[str, Callable[[Result], str]]] = MappingProxyType(
    {
        "base-fastest": _fastest,
        "tiny-video": _video,
        "base-stages": _step,
        "overhead": _overhead,
    }
)


def _machines(results: Mapping[str, Result]) -> list[str]:
    """Return which machine each figure is of, and where other processes were busy."""
    by_machine: dict[str, list[str]] = {}
    for name, result in results.items():
        machine = result["machine"]
        has = f" with {machine['instructions']}" if "instructions" in machine else ""
        where = f"{machine['core_count']} cores of {machine['processor']}{has}"
        by_machine.setdefault(where, []).append(_NAMES[name])
    return [f"Measured on {where}: {', '.join(names)}." for where, names in by_machine.items()]
