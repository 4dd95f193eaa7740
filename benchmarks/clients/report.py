"""Write docs/clients.md from the figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_HEAD: Final = """# What clients feel

Written by `python -m benchmarks.clients` from `benchmarks/results/clients.json`; each part says
when and on what it was measured. A budget stands beside each figure.
"""


def page_of(found: Mapping[str, Any]) -> str:
    """Return the page."""
    parts = {"drain": _drain, "sdk": _sdk, "page": _page, "batch": _batch, "broken": _broken}
    sections = [write(found[name]) for name, write in parts.items() if name in found]
    return "\n".join([_HEAD, *("\n".join(section) for section in sections)])


def _drain(found: Mapping[str, Any]) -> Iterator[str]:
    usual, leaving, alone = (found[name] for name in ("usual_s", "draining_s", "alone_s"))
    shares = " and ".join(f"{100 * share:.1f} %" for share in found["shares"])
    added_s = leaving["max"] - max(usual["max"], alone["max"])
    yield "## Two gateways behind one name"
    yield ""
    yield (
        f"{found['clients']} clients of the SDK, {found['rate']:g} calls a second together, on two "
        "gateways behind one name (Redis Streams, null engine). Then one gateway gets SIGTERM\n"
        f"(`drain_notice_s` {found['notice_s']:g}, as in `k8s/base/gateway.yaml`). "
        "A call's time counts from when it was due."
    )
    yield ""
    yield "| what | measured | budget |"
    yield "| --- | --- | --- |"
    yield f"| calls of each gateway | {shares} | 45 to 55 % |"
    yield f"| errors while one leaves | {len(found['errors'])} of {leaving['count']} calls | 0 |"
    yield f"| usual time of a call, p50, p99, slowest | {_ms(usual)} | |"
    yield f"| time while one leaves, p50, p99, slowest | {_ms(leaving)} | |"
    yield f"| time once it has left, p50, p99, slowest | {_ms(alone)} | |"
    slowest_s = max(usual["max"], leaving["max"], alone["max"])
    yield f"| the slowest of all calls | {1000 * slowest_s:.0f} ms | 1000 ms |"
    yield (
        "| the slowest while it leaves, beyond the slowest before and after | "
        f"{1000 * added_s:.0f} ms | 100 ms |"
    )
    yield (
        "| calls then slower than the p99 before or after, and 100 ms | "
        f"{found['slower_than_p99_and_100_ms']} of {leaving['count']} | 0 |"
    )
    yield from _machine(found)


def _sdk(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## What the SDK adds to a call"
    yield ""
    yield (
        f"The clients beside the bare stub of gRPC, in turn, {found['calls']} calls each: an image "
        f"file of {found['image_bytes']:,} bytes, an answer with {found['regions']} regions,\n"
        "a server that answers at once."
    )
    yield ""
    yield "| client | stub, p50 | client, p50 | added, p50 | added, p90 | budget |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name in ("blocking", "asyncio"):
        row = found[name]
        names = ("stub_p50_s", "client_p50_s", "added_p50_s", "added_p90_s")
        figures = " | ".join(f"{1000 * row[one]:.2f} ms" for one in names)
        yield f"| {name} | {figures} | 2 ms |"
    yield from _machine(found)


def _page(found: Mapping[str, Any]) -> Iterator[str]:
    first = found["first_box_s"]
    yield "## The page"
    yield ""
    yield (
        "Chromium, headless, in front of a gateway that answers at once with 20 boxes: from when "
        "the gateway has the answer to the frame that shows the first box,\n"
        f"{found['rounds']} times."
    )
    yield ""
    yield "| what | measured | budget |"
    yield "| --- | --- | --- |"
    visit = f"bytes of the first visit, uncompressed, in {found['requests']} requests"
    yield f"| {visit} | {found['loaded_bytes']:,} | 200,000 |"
    yield f"| all files of the page | {sum(found['files_bytes'].values()):,} | 200,000 |"
    yield f"| first box, p50 | {1000 * first['p50']:.0f} ms | 150 ms |"
    yield f"| first box, slowest | {1000 * first['max']:.0f} ms | 150 ms |"
    yield from _machine(found)


def _batch(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## A batch that is killed"
    yield ""
    yield (
        f"`arno batch` over {found['images']:,} rendered images (null engine, Redis Streams), "
        f"killed by SIGKILL {found['kills']} times, then run to its end; "
        f"{found['elapsed_s']:.0f} s in all."
    )
    yield ""
    yield "| what | measured | budget |"
    yield "| --- | --- | --- |"
    yield f"| images with an answer | {found['answered']:,} of {found['images']:,} | all |"
    yield f"| images with more than one | {found['answered_more_than_once']} | 0 |"
    yield from _machine(found)


def _broken(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## A batch of which a tenth is broken"
    yield ""
    yield (
        f"`arno batch --task OD` over {found['files']:,} files, of which a tenth are cut off or no "
        "images, with one worker and arno-tiny. The command, the gateway and Redis share the\n"
        f"cores with the worker. Its time is that of {found['seconds']:.0f} s in the middle of the "
        "run."
    )
    yield ""
    yield "| what | measured | budget |"
    yield "| --- | --- | --- |"
    tenth = found["files"] // 10
    yield f"| files with an answer | {found['answered']} | {found['files'] - tenth} |"
    yield f"| files in failures.jsonl | {found['failures']} | {tenth} |"
    yield f"| exit code | {found['exit_code']} | 1 |"
    yield f"| time of the engine in steps | {100 * found['busy']:.1f} % | 95 % or more |"
    yield f"| images a second | {found['images_per_s']:.1f} | |"
    yield from _machine(found)


def _ms(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{1000 * figures[name]:.1f}" for name in ("p50", "p99", "max")) + " ms"


def _machine(found: Mapping[str, Any]) -> Iterator[str]:
    machine = found["machine"]
    load = machine["load_average"][0]
    busy = (
        " (a busy machine: other programs had most of it)" if load > machine["core_count"] else ""
    )
    yield ""
    measured_at = machine["measured_at"][:16].replace("T", " ")
    yield (
        f"{measured_at} UTC, commit {machine['commit']}, {machine['core_count']} cores, "
        f"load before it {load:g}{busy}."
    )
    yield ""
