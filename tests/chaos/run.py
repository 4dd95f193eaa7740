"""One run: start everything, ask and disturb, heal, wait for what is owed, judge."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from chaos import schedule
from chaos.history import History
from chaos.load import Load
from chaos.machine import CLAIM_TIMEOUT_S, Machine, MachineOptions
from chaos.nemeses import Nemeses
from chaos.schedule import Disruption, Nemesis, Pace, Part
from chaos.verdict import StoreCounts, Verdict, count_in_store, judge
from prometheus_client.parser import text_string_to_metric_families

_TICK_S = 0.05
_PROGRESS_S = 5.0
_QUIET_S = 30.0
_IN_FLIGHT = (
    "arno_gateway_jobs_in_flight",
    "arno_gateway_image_in_flight_bytes",
    "arno_gateway_open_requests",
)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """A run.

    Attributes:
        seconds: How long it is asked and disturbed.
        seed: Of the schedule.
        rate_per_s: Requests a second.
        every_s: Mean time between disruptions.
        settle_s: How long everything that is owed may take when all is well again.
        machine: What is run; its nemeses are those of the schedule.
        disruptions: A schedule to follow in place of the seed's.
    """

    seconds: float
    seed: int = 1
    rate_per_s: float = 15.0
    every_s: float = 10.0
    settle_s: float = 90.0
    machine: MachineOptions = field(default_factory=MachineOptions)
    disruptions: Sequence[Disruption] | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a run beside its history and its schedule.

    Attributes:
        seconds: How long it was asked and disturbed.
        seed: Of the schedule.
        rate_per_s: Requests a second.
        bus: Its kind.
        brokers: How many.
        began_s: When the schedule began, on the history's clock.
        commit: Of the checkout.
        core_count: Of the machine.
        load_average: Of the last minute, at the start and at the end.
        done: How often each disruption was made.
        store: What Redis counted.
    """

    seconds: float
    seed: int
    rate_per_s: float
    bus: str
    brokers: int
    began_s: float
    commit: str
    core_count: int
    load_average: tuple[float, float]
    done: Mapping[tuple[Part, Nemesis], int]
    store: StoreCounts

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        done = [[*kind, count] for kind, count in self.done.items()]
        path.write_text(json.dumps({**asdict(self), "done": done}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        facts = json.loads(path.read_text())
        facts["done"] = {(Part(part), Nemesis(what)): n for part, what, n in facts["done"]}
        facts["load_average"] = tuple(facts["load_average"])
        return cls(**{**facts, "store": StoreCounts(**facts["store"])})


def run_chaos(folder: Path, options: RunOptions, say: Callable[[str], None]) -> Verdict:
    """Run it and report its progress; everything that was started has ended when this returns.

    Args:
        folder: Empty; logs, the schedule and the history land there.
        options: What is run.
        say: Gets lines of progress.
    """
    machine = Machine(folder, options.machine)
    history = History(folder / "history.jsonl")
    nemeses = Nemeses(machine, history)
    load = Load(machine.addresses, history, run=secrets.token_hex(4), rate_per_s=options.rate_per_s)
    disruptions = _schedule(machine, options)
    schedule.save(disruptions, folder / "schedule.json")
    load_before = os.getloadavg()[0]
    try:
        machine.start()
        load.start()
        _await_first_answer(machine, history, options.settle_s)
        began_s = history.now_s()
        _disturb(nemeses, machine, history, (disruptions, options.seconds), say)
        load.stop_asking()
        nemeses.heal()
        _settle(machine, load, options.settle_s)
        load.close()
        _check_in_flight(machine, history)
        store = count_in_store(machine.redis.url)
    finally:
        load.stop_asking()
        machine.stop()
        history.close()
    Facts(
        seconds=options.seconds,
        seed=options.seed,
        rate_per_s=options.rate_per_s,
        bus=options.machine.bus,
        brokers=options.machine.brokers,
        began_s=began_s,
        commit=_commit(),
        core_count=os.cpu_count() or 1,
        load_average=(load_before, os.getloadavg()[0]),
        done=nemeses.done,
        store=store,
    ).save(folder / "run.json")
    return judge(history, disruptions, done=nemeses.done, store=store, began_s=began_s)


def _commit() -> str:
    words = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def _schedule(machine: Machine, options: RunOptions) -> list[Disruption]:
    if options.disruptions is not None:
        return list(options.disruptions)
    pace = Pace(
        seconds=options.seconds,
        every_s=options.every_s,
        freeze_s=2 * CLAIM_TIMEOUT_S,
        nemeses=options.machine.nemeses or schedule.KILLS_AND_FREEZES,
    )
    return schedule.plan(options.seed, machine.counts, pace)


def _await_first_answer(machine: Machine, history: History, timeout_s: float) -> None:
    end_s = history.now_s() + timeout_s
    while not history.snapshot().answered:
        if history.now_s() > end_s:
            codes = {operation.code for operation in history.operations}
            raise AssertionError(f"no answer within {timeout_s:g} s; codes: {codes}")
        machine.keep()
        time.sleep(_TICK_S)


def _disturb(
    nemeses: Nemeses,
    machine: Machine,
    history: History,
    plan: tuple[Sequence[Disruption], float],
    say: Callable[[str], None],
) -> None:
    disruptions, seconds = plan
    began_s = history.now_s()
    due = list(disruptions)
    reported_s = 0.0
    while (now_s := history.now_s() - began_s) < seconds:
        while due and due[0].at_s <= now_s:
            disruption = due.pop(0)
            nemeses.begin(disruption)
            say(str(disruption))
        nemeses.end_due()
        machine.keep()
        if now_s - reported_s >= _PROGRESS_S:
            reported_s = now_s
            say(f"{now_s:6.1f} s  {history.snapshot()}")
        time.sleep(_TICK_S)


def _settle(machine: Machine, load: Load, timeout_s: float) -> None:
    end_s = time.monotonic() + timeout_s
    while load.open_count and time.monotonic() < end_s:
        machine.keep()
        time.sleep(_TICK_S)


def _check_in_flight(machine: Machine, history: History) -> None:
    """Note what gateways count as in flight although every call has ended."""
    end_s = time.monotonic() + _QUIET_S
    for address, port in zip(machine.addresses, machine.metrics_ports, strict=True):
        # A job whose caller has gone is counted until it has been stopped.
        while (counted := in_flight(_metrics(port))) and time.monotonic() < end_s:
            time.sleep(_TICK_S)
        for name, value in counted.items():
            history.leaked(f"{address} still counts {value:g} in {name}")


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text: str = response.read().decode()
        return text


def in_flight(metrics: str) -> dict[str, float]:
    """Return what a gateway's page of metrics counts as in flight, by the metric's name."""
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name in _IN_FLIGHT and sample.value > 0
    }
