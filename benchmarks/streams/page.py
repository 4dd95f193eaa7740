"""Write docs/streams-figures.md from the results: `python -m benchmarks streams-page`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

PAGE: Final = Path("docs/streams-figures.md")
PLOT: Final = Path("docs/benchmarks/streams-memory.png")

Result = Mapping[str, Any]

_INTRODUCTION: Final = """# Figures of streams

Written by `python -m benchmarks streams-page` from `benchmarks/results/streams-*.json`. Each
section names its command, the machine and its load. `others` is the number of cores that other
programs used meanwhile: where it is above 0, rates and latencies are worse than on a quiet machine;
processor time suffers less.
"""

_MB: Final = 1e6
_BEFORE: Final = (
    " Before frames of the policy `all` waited in `arno ingest`, the network on the way to the "
    "gateway took 4 MB of them, and kept a buffer of 64 kB there for each: the gateway grew for 25 "
    "minutes."
)


def write_page(results: Path, page: Path = PAGE) -> None:
    """Write the page of the results in a folder."""
    found = {
        path.stem: json.loads(path.read_text()) for path in sorted(results.glob("streams-*.json"))
    }
    page.write_text(text_of(found))
    if memories := _named(found, "streams-memory"):
        draw_memory(memories, PLOT)


def text_of(results: Mapping[str, Result]) -> str:
    """Return the page, in Markdown; what was not measured has no section."""
    bridges = _named(results, "streams-bridge")
    memories = _named(results, "streams-memory")
    parts = [_INTRODUCTION]
    parts += [_bridges(bridges)] if bridges else []
    parts += [section(results[name]) for name, section in _SECTIONS.items() if name in results]
    parts += [_memory(memories)] if memories else []
    return "\n".join(parts)


def _named(results: Mapping[str, Result], prefix: str) -> list[Result]:
    return [result for name, result in sorted(results.items()) if name.startswith(prefix)]


def _bridges(results: Sequence[Result]) -> str:
    first = results[0]
    parts = ("bridge", "gateway", "worker", "kafka", "redis")
    rows = [
        (
            result["bus"],
            f"{one['images_per_s']:.0f}",
            f"{one['images_per_core_s'] * 2:.0f}",
            *(f"{one['cpu_ms_per_image'][part]:.2f}" for part in parts),
            f"{1000 * one['direct_p50_s']:.1f}",
            f"{1000 * one['bridge_p50_s']:.1f}",
            f"{1000 * one['added_p50_s']:.1f}",
            f"{one['others_cores']:.1f}",
        )
        for result in results
        for one in result["rounds"]
    ]
    aims = first["aims"]
    return _section(
        "From topic to topic",
        "python -m benchmarks bridge` and `python -m benchmarks bridge --bus redis",
        f"Images of {first['image_bytes'] / 1000:.0f} kB, the null engine, real Kafka and Redis, "
        "one "
        f"process of each kind. Aims: {aims['images_per_s']:.0f} images/s on two cores, "
        f"{1000 * aims['added_p50_s']:.0f} ms more than a direct call of the gateway (p50, "
        f"{first['rate']:.0f} images/s). The second column is what two cores carry by the "
        "processor "
        "time that all parts used.",
        results,
        (
            *("Arno's bus", "images/s", "by processor time"),
            *(f"{part}, ms" for part in parts),
            *("direct p50, ms", "bridge p50, ms", "added, ms", "others"),
        ),
        rows,
    )


def _kills(result: Result) -> str:
    rows = [
        (
            *(result[name] for name in ("inputs", "results", "repeats", "lag")),
            ", ".join(f"{part} {count}" for part, count in result["kills"].items()),
            f"{result['elapsed_s']:.0f}",
            "; ".join(result["faults"]) or "none",
        )
    ]
    return _section(
        "Killed under load",
        "make bridge-test",
        f"SIGKILL to bridge, broker, gateway and worker in turn, while {result['rate_per_s']:.0f} "
        "images/s of "
        f"{result['image_bytes'] / 1000:.0f} kB in five keys are written. Judged by what is in the "
        "topics: every image answered "
        "at least once and truly, repeats recognised by their `arno-id`, results of each key in "
        "order, everything committed.",
        [result],
        ("images", "results", "repeats", "lag", "killed", "seconds", "broken promises"),
        rows,
    )


def _reading(result: Result) -> str:
    return _section(
        "Four cameras",
        "python -m benchmarks videos reading",
        f"{result['cameras']} videos of 1280 x 720 at 30 frames/s (H.264, "
        f"{result['mbit_per_s']:.0f} Mbit/s), read as they play and "
        "sampled once a second by one "
        f"`arno ingest`. Aim: {result['aims']['four_cameras_cores']:.0f} core. With `key_frames` "
        "only "
        "key frames are decoded, here one a second.",
        [result],
        ("decoded", "cores", "frames answered"),
        [
            (turn["decoded"], f"{turn['cores']:.2f}", " ".join(map(str, turn["answered"])))
            for turn in result["turns"]
        ],
    )


def _painting(result: Result) -> str:
    return _section(
        "Annotated video",
        "python -m benchmarks videos painting",
        "Pictures of 1280 x 720 with four boxes, decoded, drawn on and encoded as H.264. Aim: "
        f"{result['aims']['painted_per_s']:.0f} a second on one core.",
        [result],
        ("pictures", "a second and core", "processor time, ms"),
        [(result["pictures"], f"{result['per_core_s']:.0f}", f"{result['cpu_ms']:.1f}")],
    )


def _ten(result: Result) -> str:
    memory = result["memory"]
    streams = list(result["streams"].values())
    rows = [
        (
            len(streams),
            f"{result['answers_per_s']:.1f}",
            f"{min(one['answered'] for one in streams)} to "
            f"{max(one['answered'] for one in streams)}",
            f"{result['share_error']:.1%}",
            *(sum(one[name] for one in streams) for name in ("missing", "out_of_order", "failed")),
            f"{result['told_iou']:.2f}",
            f"{result['painted_iou']:.2f}",
            f"{result['others_cores']:.1f}",
        )
    ]
    # The first minute fills caches and pools.
    settled = memory[min(12, len(memory) // 4) :]
    thirds = (settled[: len(settled) // 3], settled[-(len(settled) // 3) :])
    grown = [
        (
            part,
            *(f"{sum(one[part] for one in third) / len(third) / _MB:.0f}" for third in thirds),
            f"{max(one[part] for one in settled) / _MB:.0f}",
        )
        for part in ("ingest", "gateway", "worker", "redis")
    ]
    return _section(
        "Ten streams at one model",
        "python -m benchmarks videos ten",
        f"Ten videos of {result['seconds']:.0f} s, {result['fps']} frames/s each, policy `latest`, "
        f"arno-tiny: {result['fps'] * len(result['streams'])} frames/s together. Every sampled "
        "frame has a line, answered or dropped; `missing` and `out of order` count lines. IoU is "
        "the mean overlap with the truth of the frame's own time: of the boxes that were told, and "
        f"of those read from the pixels of the annotated video ({result['painted']} pictures). "
        "Aims: shares within "
        f"{result['aims']['share_error']:.0%}, IoU "
        f"{result['aims']['iou']}.",
        [result],
        (
            *("streams", "answers/s", "answers each", "largest difference from the mean"),
            *("missing", "out of order", "failed", "IoU told", "IoU painted", "others"),
        ),
        rows,
    ) + _table(("memory, MB", "first third", "last third", "most"), grown)


def _memory(results: Sequence[Result]) -> str:
    newest = results[0]
    rows = [
        (
            f"{result['seconds'] / 60:.0f}" + (f" ({result['note']})" if result["note"] else ""),
            part,
            *(f"{one[name] / _MB:.1f}" for name in ("settled_bytes", "end_bytes", "peak_bytes")),
            f"{one['bytes_per_hour'] / _MB:+.1f}",
            f"{result['cores'][part]:.3f}",
        )
        for result in results
        for part, one in result["parts"].items()
    ]
    counts = [
        (name, *(one[kind] for kind in ("frames", "answered", "dropped", "failed", "missing")))
        for name, one in newest.get("sources", {}).items()
    ]
    settles = f"after {newest['parts']['ingest']['settled_at_s'] / 60:.0f} minutes"
    text = _section(
        "Memory over an hour",
        "python -m benchmarks memory",
        "One `arno ingest` with a file that is tracked (`gate`), one of 1280 x 720 with an "
        "annotated video (`hd`), a camera by RTSP that dies every five minutes and returns, one "
        f"that never answers, three sources of which the model is {newest['slower']:.0f} times "
        "slower than the camera, one for each policy, and a topic of images of which one in twenty "
        "is garbage; events of all jobs go to a topic by `arno notify`, and metrics and a preview "
        "are fetched every minute. The null engine. The slope is that of least squares over all "
        f"looks {settles}. Redis keeps the answers about a topic's images for a day, here two a "
        "second, so it grows by them." + _BEFORE * (len(results) > 1),
        results,
        (
            *("minutes", "memory, MB", settles, "at the end", "most", "slope, MB/h"),
            "cores",
        ),
        rows,
    )
    picture = f"\n![Memory over time]({PLOT.relative_to('docs')})\n"
    table = _table(("source", "frames", "answered", "dropped", "failed", "missing"), counts)
    return text + picture + (table if counts else "")


def draw_memory(results: Sequence[Result], path: Path) -> None:
    """Draw the memory of each part over time, a field for each run."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, fields = pyplot.subplots(
        1, len(results), figsize=(4 + 3 * len(results), 3.2), sharey=True, squeeze=False
    )
    for result, field in zip(results, fields[0], strict=True):
        minutes = [one["at_s"] / 60 for one in result["samples"]]
        for part in result["parts"]:
            field.plot(minutes, [one[part] / _MB for one in result["samples"]], label=part)
        field.set_title(result["note"], fontsize="small")
        field.set_xlabel("minutes")
        field.set_ylim(bottom=0)
    fields[0][0].set_ylabel("memory, MB")
    fields[0][0].legend(ncols=3, fontsize="small", loc="center")
    figure.tight_layout()
    figure.savefig(path, dpi=100, metadata={"Software": None})
    pyplot.close(figure)


def _tracks(result: Result) -> str:
    return _section(
        "Tracks over a crossing",
        "python -m benchmarks videos tracks",
        "Two pairs of objects pass and hide each other every ten seconds; arno-tiny detects, "
        "ByteTrack follows. HOTA, IDF1 and "
        "MOTA are computed by `trackers.eval`, which follows TrackEval. An object has a track from "
        "the second frame that shows it.",
        [result],
        ("frames/s", "frames", "objects", "tracks", "switches", "HOTA", "IDF1", "MOTA", "IoU"),
        [
            (
                *(turn[name] for name in ("fps", "frames", "objects", "tracks", "switches")),
                *(f"{turn[name]:.3f}" for name in ("hota", "idf1", "mota")),
                f"{turn['iou']:.2f}",
            )
            for turn in result["turns"]
        ],
    )


_SECTIONS: Final[Mapping[str, Callable[[Result], str]]] = {
    "streams-kills": _kills,
    "streams-reading": _reading,
    "streams-painting": _painting,
    "streams-ten": _ten,
    "streams-tracks": _tracks,
}


def _section(
    title: str,
    command: str,
    meaning: str,
    results: Sequence[Result],
    names: Sequence[str],
    rows: Iterable[Sequence[object]],
) -> str:
    machines = "; ".join(_machine(result["machine"]) for result in results)
    return f"## {title}\n\n`{command}`. {meaning}\n\n{machines}.\n{_table(names, rows)}"


def _machine(machine: Mapping[str, Any]) -> str:
    load = machine["load_average"][0]
    return (
        f"{machine['core_count']} cores of {machine['processor']}, load {load:.1f} at the "
        "beginning, "
        f"commit {machine['commit']}"
    )


def _table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n" + "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
