"""`python -m chaos.bridge`: kill a bridge, its broker, gateway and worker under load; judge it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from chaos.bridge_judge import BridgeVerdict, judge_topics, repeats
from chaos.machine import CLAIM_TIMEOUT_S, Kept, Machine, MachineOptions
from chaos.schedule import Part
from chaos.workload import PICTURE
from kafka import KafkaProducer
from kafka.errors import KafkaError
from support.kafka_broker import WAYS_TO_GET_IT, kafka_available
from support.kafka_topics import Topics

_SOURCE, _RESULTS, _DEAD, _GROUP = "photos", "photos.results", "photos.dead", "chaos-bridge"
_KEYS: Final = [b"door", b"yard", b"gate", b"roof", b"hall"]
_IN_TURN: Final = (Part.BRIDGE, Part.BROKER, Part.GATEWAY, Part.WORKER)
_PARTITIONS: Final = 4
_UNACKNOWLEDGED_MAX: Final = 32
_DOWN_S: Final = 0.5
_LOOK_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class BridgeRun:
    """A run.

    Attributes:
        kills: How many; bridge, broker, gateway and worker in turn.
        every: Results between two kills.
        rate_per_s: Images written a second, from the beginning until the last kill.
        image_bytes: Their size, about.
        settle_s: Time for what is left, at the end and between two kills.
    """

    kills: int
    every: int = 100
    rate_per_s: float = 50.0
    image_bytes: int = 20_000
    settle_s: float = 120.0


class Writer:
    """Writes images at a steady rate on a thread of its own, through outages of the broker."""

    def __init__(self, bootstrap: str, run: BridgeRun) -> None:
        """Take where to, and how fast."""
        self._bootstrap = bootstrap
        self._run = run
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, name="writer")
        self.faults: list[str] = []

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def end(self) -> None:
        """Write no more, and wait until everything is acknowledged. Idempotent."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _write(self) -> None:
        chance = random.Random(1)
        producer = KafkaProducer(
            bootstrap_servers=self._bootstrap,
            # An idempotent one would stop at an outage: decision 0003.
            enable_idempotence=False,
            # Of each key the source has the order in which it was written.
            max_in_flight_requests_per_connection=1,
            reconnect_backoff_max_ms=500,
            request_timeout_ms=5000,
        )
        under_way = []
        try:
            while not self._ended.wait(1 / self._run.rate_per_s):
                value = PICTURE + chance.randbytes(self._run.image_bytes)
                under_way.append(producer.send(_SOURCE, value, key=chance.choice(_KEYS)))
                under_way = [one for one in under_way if not one.is_done]
                if len(under_way) > _UNACKNOWLEDGED_MAX:
                    under_way.pop(0).get(60)
            for one in under_way:
                one.get(60)
        except KafkaError as fault:
            self.faults.append(f"the writer failed: {fault}")
        finally:
            producer.close(5)


def run_bridge(folder: Path, run: BridgeRun, say: Callable[[str], None]) -> BridgeVerdict:
    """Run everything, kill it in turn, and judge what is in the topics.

    Args:
        folder: Empty; logs and settings land there.
        run: What is run.
        say: Gets a line for each kill.
    """
    with ExitStack() as opened:
        machine = Machine(folder, MachineOptions(gateways=1, workers=1))
        opened.callback(machine.stop)
        machine.start()
        watch = _Watch(machine, run.settle_s)
        opened.callback(watch.topics.close)
        for name in (_SOURCE, _RESULTS, _DEAD):
            watch.topics.create(name, partitions=_PARTITIONS)
        machine.add(Part.BRIDGE, ["arno.cli", "ingest", "--config", _config(machine)], "bridge")
        writer = Writer(watch.topics.bootstrap, run)
        opened.callback(writer.end)
        writer.start()
        began_s, kills = time.monotonic(), Counter[str]()
        for number, part in enumerate(itertools.islice(itertools.cycle(_IN_TURN), run.kills)):
            watch.await_results((number + 1) * run.every)
            say(f"{time.monotonic() - began_s:6.1f} s  {watch.results} results; kill {part}")
            watch.kill(machine.kept[part][0])
            kills[part.value] += 1
        writer.end()
        lag = watch.await_lag()
        elapsed_s = time.monotonic() - began_s
        found = [watch.topics.read(name) for name in (_SOURCE, _RESULTS, _DEAD)]
    return BridgeVerdict(
        inputs=len(found[0]),
        results=len(found[1]),
        repeats=repeats(found[1]),
        # A Counter would be taken apart by `asdict`, which makes another of its pairs.
        kills=dict(kills),
        lag=lag,
        faults=[*writer.faults, *judge_topics(*found, topic=_SOURCE)],
        elapsed_s=elapsed_s,
    )


class _Watch:
    """Keeps the machine running, and asks its broker how far the bridge is. Main thread only."""

    def __init__(self, machine: Machine, settle_s: float) -> None:
        self.topics = Topics(machine.brokers[0].bootstrap)
        self.results = 0
        self._machine = machine
        self._settle_s = settle_s

    def await_results(self, count: int) -> None:
        """Return when so many results are in their topic."""
        self._until(lambda: self._size() >= count, f"{count} results")

    def kill(self, kept: Kept) -> None:
        """Kill a part, and see that it comes back."""
        kept.part.kill()
        kept.launch_at_s = time.monotonic() + _DOWN_S
        self._until(lambda: kept.part.running, f"{kept.part.kind} runs again")
        self._machine.brokers[0].await_ready()

    def await_lag(self) -> int:
        """Return 0 when everything is committed, or what is left when the time is over."""
        lag = -1

        def nothing_left() -> bool:
            nonlocal lag
            lag = self.topics.lag(_GROUP, _SOURCE)
            return lag == 0

        with contextlib.suppress(AssertionError):
            self._until(nothing_left, "the lag is 0")
        return lag

    def _size(self) -> int:
        self.results = self.topics.size(_RESULTS)
        return self.results

    def _until(self, true: Callable[[], bool], what: str) -> None:
        until_s = time.monotonic() + self._settle_s
        while time.monotonic() < until_s:
            self._machine.keep()
            # The broker may be on its way back.
            with contextlib.suppress(KafkaError):
                if true():
                    return
            time.sleep(_LOOK_S)
        raise AssertionError(f"not within {self._settle_s:g} s: {what}")


def _config(machine: Machine) -> Path:
    route = {
        "topic": _SOURCE,
        "results": _RESULTS,
        "dead_letters": _DEAD,
        "group": _GROUP,
        "tasks": ["CAPTION"],
    }
    settings = {
        "address": machine.addresses[0],
        "kafka_bootstrap": machine.brokers[0].bootstrap,
        "claim_timeout_s": CLAIM_TIMEOUT_S,
        "metrics_port": 0,
        "topics": [route],
    }
    file = machine.folder / "streams.yaml"
    # JSON is YAML.
    file.write_text(json.dumps(settings))
    return file


@click.command()
@click.option("--kills", default=10, show_default=True, help="How often a part is killed.")
@click.option("--every", default=500, show_default=True, help="Results between two kills.")
@click.option("--rate", "rate_per_s", default=60.0, show_default=True, help="Images a second.")
@click.option("--image-bytes", default=50_000, show_default=True, help="Size of an image.")
@click.option("--settle", "settle_s", default=300.0, show_default=True, help="Patience, in s.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the verdict as JSON."
)
def main(out: Path | None, **given: float) -> None:
    """Kill bridge, broker, gateway and worker in turn under load, and judge the topics."""
    if not kafka_available():
        raise click.ClickException(WAYS_TO_GET_IT)
    # It brings torch, for which the tests of this module have no use.
    from benchmarks.machine import describe

    machine = describe("cpu")
    with tempfile.TemporaryDirectory(prefix="arno-bridge-") as folder:
        verdict = run_bridge(Path(folder), BridgeRun(**given), click.echo)
    for line in verdict.lines():
        click.echo(line)
    if out:
        out.write_text(json.dumps(_result(verdict, given, machine), indent=1) + "\n")
    sys.exit(0 if verdict.kept else 1)


def _result(
    verdict: BridgeVerdict, given: dict[str, float], machine: dict[str, Any]
) -> dict[str, Any]:
    """Return what `benchmarks.streams.page` shows."""
    found = {**given, **dataclasses.asdict(verdict)}
    return {"name": "streams-kills", "kind": "streams-kills", "machine": machine, **found}


if __name__ == "__main__":
    main()
