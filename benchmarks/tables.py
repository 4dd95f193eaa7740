"""Turn results into the sections of the page, one function for each kind of result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from benchmarks.schedule import WORKLOADS

NOISY_CORES = 0.2
"""Where others kept more of the machine busy than this, a figure is marked."""

Result = dict[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figure(value: float) -> str:
    """Return a number with three digits that count."""
    if value >= 100:
        return f"{value:.0f}"
    if value < 0.1:
        return f"{value:.2g}"
    return f"{value:.{1 if value >= 10 else 2}f}"


def milliseconds(value_s: float) -> str:
    """Return seconds as milliseconds."""
    return figure(value_s * 1000)


def where(machine: Mapping[str, Any]) -> str:
    """Return on what, when and at which commit something was measured."""
    device = "" if machine["device"] == "cpu" else f"{machine['device']}; "
    load = machine["load_average"][0]
    has = f" with {machine['instructions']}" if "instructions" in machine else ""
    return (
        f"{device}{machine['processor']}{has}, {machine['core_count']} cores; commit "
        f"{machine['commit']}; load {load} at the start; {machine['measured_at'][:10]}."
    )


def comparison_rows(result: Result) -> list[list[str]]:
    """Return a row for every engine of a comparison, the reference's ratio being 1."""
    engines: Mapping[str, Any] = result["engines"]
    names = [name for name in result["plan"]["engines"] if name in engines]
    reference = engines[names[0]]["throughput"] if names else 1.0
    rows = []
    for name in names:
        found = engines[name]
        late = found["latency_s"]
        rows.append(
            [
                marked(name, found),
                figure(found["throughput"]),
                f"{found['throughput'] / reference:.2f}",
                *(figure(late[part]) if late else "-" for part in ("p50", "p95", "p99")),
                f"{found['equal_count']} of {found['request_count']}",
                f"{found['rss_bytes'] / 2**30:.1f}",
                figure(found["busy_s_each"]) if found.get("busy_s_each") else "-",
                f"{found['others_cores']:.1f}",
            ]
        )
    return rows


def comparison(result: Result) -> str:
    """Return the section of a comparison."""
    plan, machine = result["plan"], result["machine"]
    arrivals = (
        f"arrivals at {plan['rate']:g}/s" + (", evenly" if plan["steady"] else ", Poisson")
        if plan["rate"]
        else f"saturation, {plan['concurrency']} at once"
    )
    rounds = max((len(e["throughputs"]) for e in result["engines"].values()), default=0)
    head = ["engine", "answers/s", "ratio", "p50 s", "p95 s", "p99 s", "equal", "RSS GiB"]
    head += ["CPU s", "others"]
    lines = [
        f"### {result['name']}",
        f"{plan['model']}, {result['serving']['dtype']}, {plan['num_beams']} beams; "
        f"{WORKLOADS[plan['workload']].description}; {arrivals}; {rounds} rounds of "
        f"{plan['requests']} requests, {result['mean_tokens']:.0f} tokens at most on average. "
        + where(machine),
        table(head, comparison_rows(result)),
    ]
    lines += [f"Skipped: {reason}" for reason in result["skipped"].values()]
    return "\n\n".join(lines)


def sweep(result: Result) -> str:
    """Return the section of a measurement at several concurrencies."""
    plan = result["plan"]
    names = [name for name in plan["engines"] if name not in result["skipped"]]
    head = ["at once", *(f"{name} {what}" for name in names for what in ("/s", "p50 s", "p95 s"))]
    rows = []
    for point in result["points"]:
        row = [str(point["concurrency"])]
        for name in names:
            found = point["engines"][name]
            late = found["latency_s"]
            row += [marked(figure(found["throughput"]), found)]
            row += [figure(late[part]) if late else "-" for part in ("p50", "p95")]
        rows.append(row)
    return "\n\n".join(
        [
            f"### {result['name']}",
            f"{plan['model']}, {result['serving']['dtype']}, {plan['num_beams']} beams; "
            f"{WORKLOADS[plan['workload']].description}; saturation. " + where(result["machine"]),
            table(head, rows),
        ]
    )


def stages(result: Result) -> str:
    """Return the section of a measurement of the stages."""
    reach = result["reach"]
    rows = [
        [
            name,
            milliseconds(found["took_s"]),
            milliseconds(found["floor_s"]) if "floor_s" in found else "-",
            f"{found['over_floor']:.1f}" if "over_floor" in found else "-",
            milliseconds(found["transformers_s"]) if "transformers_s" in found else "-",
            _ratio(found),
        ]
        for name, found in result["stages"].items()
    ]
    head = ["stage", "Arno ms", "floor ms", "over floor", "transformers ms", "ratio"]
    noisy = " **Noisy.**" if result["others_cores"] > NOISY_CORES else ""
    return "\n\n".join(
        [
            f"### {result['name']}",
            f"{result['model']}, {result['dtype']}, {_threads(result)}. The machine reached "
            f"{reach['flops_per_s'] / 1e9:.0f} GFLOP/s in a product of square matrices and "
            f"{reach['bytes_per_s'] / 1e9:.1f} GB/s reading, in the same run; a floor is the "
            f"longer of the two. Others used {result['others_cores']:.1f} cores.{noisy} "
            + where(result["machine"]),
            table(head, rows),
        ]
    )


def _threads(result: Result) -> str:
    return "1 thread" if result["threads"] == 1 else f"{result['threads']} threads"


def precision(result: Result) -> str:
    """Return the section of a comparison of number formats."""
    head = ["task", "answers", "equal", "same labels", "edits", "boxes", "mean IoU", "IoU >= 0.9"]
    rows = [
        [
            task,
            figure(found["answers"]),
            f"{found['equal_part']:.1%}",
            f"{found['label_equal_part']:.1%}",
            f"{found['edit_distance_mean']:.3f}",
            f"{found['boxes']:.0f}" if "boxes" in found else "-",
            f"{found['iou_mean']:.4f}" if "boxes" in found else "-",
            f"{found['iou_90_part']:.1%}" if "boxes" in found else "-",
        ]
        for task, found in result["tasks"].items()
    ]
    return "\n\n".join(
        [
            f"### {result['name']}",
            f"arno-tiny, {result['dtype']} against float32, 3 beams, {result['images']} images. "
            "Edits are those of the raw text over its length, location tokens and all; a box that "
            "only one of the two has counts as an IoU of 0. " + where(result["machine"]),
            table(head, rows),
        ]
    )


def starts(result: Result) -> str:
    """Return the section of what starts cost."""
    modes: Mapping[str, Mapping[str, float]] = result["modes"]
    first = next(iter(modes.values()))
    rows = [
        [
            marked(mode, result),
            figure(found["busy_s"]),
            f"{found['busy_s'] / first['busy_s']:.2f}",
            figure(found["took_s"]),
            f"{found['rss_bytes'] / 2**30:.1f}",
        ]
        for mode, found in modes.items()
    ]
    return "\n\n".join(
        [
            f"### {result['name']}",
            f"{result['model']}; from the first import to the end of the warm-up, in a process of "
            f"its own; medians of {result['rounds']}. " + where(result["machine"]),
            table(["mode", "CPU s", "ratio", "s", "RSS GiB"], rows),
        ]
    )


def soak(result: Result) -> str:
    """Return the section of memory over many requests."""
    rows = [
        [str(point["answered"]), f"{point['rss_bytes'] / 2**20:.0f}", str(point["faults"])]
        for point in result["points"]
    ]
    return "\n\n".join(
        [
            f"### {result['name']}",
            "Arno's engine over a Florence-2 of no size, so that requests are many; memory after "
            "each part. " + where(result["machine"]),
            table(["answered", "RSS MiB", "faults"], rows),
        ]
    )


def overhead(result: Result) -> str:
    """Return the section of what everything but the model costs."""
    head = ["load", "jobs/s", "p50 ms", "p99 ms", "others"]
    head += [f"CPU ms of {part}" for part in _PARTS]
    rows = []
    for run in result["runs"]:
        load = f"{run['rate']:g}/s" if run["rate"] else f"{run['concurrency']} at once"
        late = run["latency_s"]
        rows.append(
            [
                marked(load, run),
                figure(run["jobs_per_s"]),
                milliseconds(late["p50"]),
                milliseconds(late["p99"]),
                f"{run['others_cores']:.1f}",
                *(figure(run["cpu_ms_per_job"][part]) for part in _PARTS),
            ]
        )
    return "\n\n".join(
        [
            f"### {result['name']}",
            f"Gateway to answer with the null engine, real Kafka and Redis, images of "
            f"{result['image_bytes'] // 1000} kB; processor time for each job. "
            + where(result["machine"]),
            table(head, rows),
            _bound(result),
        ]
    )


def _bound(result: Result) -> str:
    """Return what limits jobs a second, and what more cores would give, by processor time."""
    run = busiest(result)
    spent_ms: Mapping[str, float] = run["cpu_ms_per_job"]
    each_ms, cores = sum(spent_ms.values()), result["machine"]["core_count"]
    loops = {part: 1000 / spent_ms[part] for part in ("gateway", "worker")}
    return (
        f"Processors are the limit. At {figure(run['jobs_per_s'])} jobs a second a job takes "
        f"{figure(each_ms)} ms of them, {figure(spent_ms['load'])} of that in the program that "
        f"asks, so that {cores} cores carry {figure(cores * 1000 / each_ms)} at most, and each "
        f"further core {figure(1000 / each_ms)} more. Of one process each, the gateway's loop is "
        f"full at about {figure(loops['gateway'])} jobs a second and the worker at "
        f"{figure(loops['worker'])}: from there on a further core needs a further one of them."
    )


def busiest(result: Result) -> dict[str, Any]:
    """Return the load of an `overhead` under which most jobs were done."""
    return max(result["runs"], key=lambda run: float(run["jobs_per_s"]))


_OLD_SLOTS: Final = 8
"""Of the engine, in results that do not say: before it had those of the real one by default."""

_PARTS: Final = ("gateway", "worker", "redis", "kafka")
"""Of an installation, as a table of processor time names them."""

_HOSTILE_PARTS: Final = (*_PARTS, "client", "attacker")


def hostile(result: Result) -> str:
    """Return the section of what a hostile tenant does to another."""
    head = ["attack", "slots", "p50 ms, alone", "attacked", "p95 ms, alone", "attacked"]
    head += [
        "ratio of p95",
        "queued, engine, alone",
        "attacked",
        "failed of",
        "the attacker was told",
    ]
    head += ["cores of " + ", ".join(_HOSTILE_PARTS) + ", alone", "attacked", "load"]
    rows = []
    for run in result["runs"]:
        alone, attacked = run["alone"]["latency_s"], run["attacked"]["latency_s"]
        codes = run["attacked"]["codes"]
        told = sorted(run["attacker_codes"].items())
        rows.append(
            [
                run["attack"],
                str(run.get("slots", _OLD_SLOTS)),
                *(
                    milliseconds(each[part])
                    for part in ("p50", "p95")
                    for each in (alone, attacked)
                ),
                figure(run["p95_ratio"]),
                *(_stages(run[phase]["stages_p95_s"]) for phase in ("alone", "attacked")),
                f"{sum(codes.values()) - codes.get('OK', 0)} of {sum(codes.values())}",
                ", ".join(f"{code} {times}" for code, times in told) or "-",
                *(_cores(run[phase]) for phase in ("alone", "attacked")),
                figure(max(run["load_averages"])),
            ]
        )
    aim = result["budget"]["p95_ratio"]
    return "\n\n".join(
        [
            "One tenant asks at a quarter of the engine's capacity, alone and while another "
            "attacks by turns, with the default limits, real Kafka and Redis, and an engine with "
            f"so many slots at a model's pace. Aim: a ratio below {aim:g}, and no call that fails. "
            "Queued: from acceptance to a thread of the worker, p95; engine: from there to the "
            "end, p95; in ms. "
            "Cores: what each part kept busy, and the processes of both tenants; the attacker's "
            "has the lowest priority, since an attacker brings its own machine along. Load: the "
            "machine's load average, the highest of the rounds; above the number of cores the "
            "figures say little. " + where(result["machine"]),
            table(head, rows),
        ]
    )


def _cores(phase: Mapping[str, Any]) -> str:
    busy = phase.get("busy_cores", {})
    return ", ".join(f"{busy[part]:.2f}" if part in busy else "-" for part in _HOSTILE_PARTS)


def _stages(seconds: Mapping[str, float]) -> str:
    return ", ".join(milliseconds(seconds[name]) for name in ("queue", "engine"))


def marked(text: str, found: Mapping[str, Any]) -> str:
    """Return a text with a star where the machine was not quiet."""
    return text + (" *" if found["others_cores"] > NOISY_CORES else "")


def _ratio(found: Mapping[str, float]) -> str:
    theirs_s = found.get("transformers_s")
    return "-" if theirs_s is None else f"{theirs_s / found['took_s']:.1f}"
