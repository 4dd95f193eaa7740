"""Command line: `suite` for a whole set, `compare` and `stages` for one, `report` for the page."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from benchmarks.ask import Serving
from benchmarks.attacks import ATTACKS
from benchmarks.comparison import Plan, compare
from benchmarks.engines import ENGINES
from benchmarks.fairness import measure_fairness
from benchmarks.hostile import measure_hostile
from benchmarks.journal import Journal
from benchmarks.models import find_model
from benchmarks.outage import measure_outage
from benchmarks.overhead import Overhead, measure_overhead
from benchmarks.plots import draw_plots
from benchmarks.precision import Precision, measure_precision
from benchmarks.readme import write_readme
from benchmarks.report import load_results, page
from benchmarks.schedule import WORKLOADS
from benchmarks.soak import Soak, soak
from benchmarks.stages import Sizes, measure_stages
from benchmarks.starts import Starts, measure_starts
from benchmarks.streams.verbs import add_verbs
from benchmarks.suites import SUITES, Measurement
from benchmarks.sweep import Sweep, sweep
from benchmarks.tables import hostile as hostile_table

logger = logging.getLogger("benchmarks")

_HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    arguments = _parser().parse_args()
    arguments.verb(arguments)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    suite = verbs.add_parser("suite", help="run a set of measurements, each to a file of its own")
    suite.add_argument("suite", choices=sorted(SUITES))
    suite.add_argument("--only", default="", help="measurements whose names hold this word")
    suite.add_argument("--seconds", type=float, default=0.0,
                       help="start nothing that would end after so long; 0: no limit")  # fmt: skip
    suite.add_argument("--again", action="store_true", help="do not go on with a run cut off")
    _common(suite)
    suite.set_defaults(verb=_suite)
    one = verbs.add_parser("compare", help="compare engines on one workload")
    one.add_argument("--name", default="compare")
    one.add_argument("--model", default="tiny", help="tiny, base, large, dry or a folder")
    one.add_argument("--workload", default="mix", choices=sorted(WORKLOADS))
    one.add_argument("--engines", default="transformers,static,arno", help=", ".join(ENGINES))
    one.add_argument("--requests", type=int, default=16)
    one.add_argument("--rounds", type=int, default=3)
    one.add_argument("--concurrency", type=int, default=16)
    one.add_argument("--rate", type=float, default=0.0, help="open loop, arrivals a second")
    one.add_argument("--steady", action="store_true", help="arrivals at equal distances")
    one.add_argument("--num-beams", type=int, default=3)
    one.add_argument("--length-factor", type=float, default=1.0)
    one.add_argument("--seconds", type=float, default=0.0, help="no further round after so long")
    _common(one)
    one.set_defaults(verb=_compare)
    stages = verbs.add_parser("stages", help="the cost of every stage against its floor")
    stages.add_argument("--name", default="stages")
    stages.add_argument("--model", default="tiny")
    stages.add_argument("--requests", type=int, default=4)
    stages.add_argument("--beams", type=int, default=3)
    stages.add_argument("--tokens", type=int, default=24)
    stages.add_argument("--repeats", type=int, default=3)
    _common(stages)
    stages.set_defaults(verb=_stages)
    _add_whole(verbs)
    add_verbs(verbs, _write, _HERE / "results")
    report = verbs.add_parser("report", help="write the page from the results")
    report.add_argument("--results", type=Path, default=_HERE / "results")
    report.add_argument("--page", type=Path, default=_HERE.parent / "docs" / "benchmarks.md")
    report.set_defaults(verb=_report)
    return parser


def _add_whole(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add what measures all of Arno: real Kafka and Redis, a gateway, a worker."""
    overhead = verbs.add_parser(
        "overhead", help="what all but the engine costs: null engine, real Kafka and Redis"
    )
    overhead.add_argument("--seconds", type=float, default=10.0, help="of each load")
    overhead.add_argument("--out", type=Path, default=_HERE / "results")
    overhead.set_defaults(verb=_overhead)
    fairness = verbs.add_parser(
        "fairness", help="what a flood does to its neighbours: a paced engine, real Kafka and Redis"
    )
    fairness.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    fairness.add_argument("--out", type=Path, default=_HERE / "results")
    fairness.set_defaults(verb=_fairness)
    hostile = verbs.add_parser(
        "hostile", help="what a hostile tenant does to another: attacks at the default limits"
    )
    hostile.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    hostile.add_argument("--only", default="", help="attacks whose names hold this word")
    hostile.add_argument("--out", type=Path, default=_HERE / "results")
    hostile.set_defaults(verb=_hostile)
    outage = verbs.add_parser("outage", help="a thousand requests while Kafka stands still")
    outage.add_argument("--out", type=Path, default=_HERE / "results")
    outage.set_defaults(verb=_outage)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--batch-max", type=int, default=8, help="of static batches")
    parser.add_argument("--sequences-max", type=int, default=16, help="that Arno decodes together")
    parser.add_argument("--out", type=Path, default=_HERE / "results")
    parser.add_argument("--models", type=Path, default=_HERE.parent / ".cache" / "benchmarks")


def _suite(arguments: argparse.Namespace) -> None:
    began_s = time.monotonic()
    suite = SUITES[arguments.suite]
    journal = Journal(arguments.models / f"run-{arguments.suite}.json")
    if arguments.again or arguments.only:
        journal.close()
    for measurement in suite:
        if arguments.only not in measurement.name:
            continue
        if journal.holds(measurement):
            logger.info("%s: this run has measured it already", measurement.name)
            continue
        elapsed_s = time.monotonic() - began_s
        if arguments.seconds and elapsed_s + measurement.seconds > arguments.seconds:
            logger.warning("%s: left out, there is no time for it", measurement.name)
            continue
        try:
            _write(_measure(measurement, arguments), arguments.out)
        except Exception:
            # The machine may be lent for minutes only: the others still count.
            logger.exception("%s failed", measurement.name)
        else:
            journal.note(measurement)
    if arguments.only or all(map(journal.holds, suite)):
        journal.close()


def _measure(measurement: Measurement, arguments: argparse.Namespace) -> dict[str, Any]:
    model, work = measurement.model, measurement.work
    if isinstance(work, Overhead):
        return measure_overhead(seconds=work.seconds)
    serving = _serving(model, arguments, dtype=measurement.dtype, wide=measurement.wide)
    match work:
        case Plan():
            result = compare(work, serving)
        case Sweep():
            result = sweep(work, serving)
        case Soak():
            result = soak(work, serving)
        case Precision():
            result = measure_precision(work, serving)
        case Starts():
            result = measure_starts(work, model, serving)
        case Sizes():
            result = measure_stages(measurement.name, model, serving, work)
    return result


def _compare(arguments: argparse.Namespace) -> None:
    given = {field.name: getattr(arguments, field.name) for field in fields(Plan)}
    plan = Plan(**(given | {"engines": tuple(arguments.engines.split(","))}))
    _write(compare(plan, _serving(plan.model, arguments)), arguments.out)


def _stages(arguments: argparse.Namespace) -> None:
    sizes = Sizes(arguments.requests, arguments.beams, arguments.tokens, arguments.repeats)
    serving = _serving(arguments.model, arguments)
    _write(measure_stages(arguments.name, arguments.model, serving, sizes), arguments.out)


def _hostile(arguments: argparse.Namespace) -> None:
    if not any(arguments.only in name for name in ATTACKS):
        sys.exit(f"--only: no attack's name holds {arguments.only!r}: {', '.join(ATTACKS)}")
    before = arguments.out / "hostile.json"
    known = json.loads(before.read_text())["runs"] if before.exists() else []
    for result in measure_hostile(seconds=arguments.seconds, only=arguments.only, known=known):
        _write(result, arguments.out)
    sys.stdout.write(hostile_table(result) + "\n")


def _fairness(arguments: argparse.Namespace) -> None:
    _write(measure_fairness(seconds=arguments.seconds), arguments.out)


def _outage(arguments: argparse.Namespace) -> None:
    _write(measure_outage(), arguments.out)


def _overhead(arguments: argparse.Namespace) -> None:
    _write(measure_overhead(seconds=arguments.seconds), arguments.out)


def _report(arguments: argparse.Namespace) -> None:
    results = load_results(arguments.results)
    plots = draw_plots(results, arguments.page.parent / "benchmarks")
    arguments.page.write_text(page(results, {t: f"benchmarks/{p}" for t, p in plots.items()}))
    write_readme({result["name"]: result for result in results})


def _serving(
    model: str, arguments: argparse.Namespace, *, dtype: str = "", wide: int = 0
) -> Serving:
    return Serving(
        model=str(find_model(model, arguments.models)),
        device=arguments.device,
        dtype=dtype or arguments.dtype,
        batch_max=wide or arguments.batch_max,
        sequences_max=wide or arguments.sequences_max,
    )


def _write(result: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1)
    assert str(_HERE.parent) not in text, "a result names no folder of this machine"
    (folder / f"{result['name']}.json").write_text(text + "\n")
    logger.info("wrote %s.json", result["name"])
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
