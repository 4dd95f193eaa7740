"""All processes of one installation, kept running between the blows."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arno.bus import make_admin
from arno.gateway.settings import GatewaySettings
from arno.worker.settings import WorkerSettings
from chaos.parts import Part, ProcessPart, ServerPart
from chaos.schedule import Blow, Kind, Strike
from support import tied_process
from support.kafka_broker import KafkaBroker
from support.kafka_cluster import make_cluster
from support.redis_server import RedisServer, redis_executables

CLAIM_TIMEOUT_S = 3.0
_TESTS = Path(__file__).parents[1]
_RESTART_PAUSE_S = 0.5


@dataclass(slots=True)
class _Kept:
    part: Part
    launch_at_s: float = 0.0
    thaw_at_s: float | None = None


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """What the installation is made of.

    Attributes:
        bus: ``kafka`` or ``redis``.
        brokers: 1 or 3; nothing on Redis.
        gateways: How many.
        workers: How many.
        worker_module: What is run as a worker, with its settings' file.
    """

    bus: str = "kafka"
    brokers: int = 1
    gateways: int = 2
    workers: int = 2
    worker_module: str = "chaos.worker_process"


class Machine:
    """Starts everything, takes blows, and starts again what has ended. Main thread only."""

    def __init__(self, folder: Path, options: MachineOptions) -> None:
        """Choose ports and write settings; nothing runs yet."""
        self._folder = folder
        self._options = options
        executable = next(iter(redis_executables().values()))
        self.redis = RedisServer(folder / "redis", executable, appendfsync="always")
        self.brokers = self._make_brokers()
        self.gateway_ports = [tied_process.free_port() for _ in range(options.gateways)]
        self.settings = self._worker_settings()
        self.gateways = [self._gateway(port) for port in self.gateway_ports]
        self.workers = [self._worker(number) for number in range(options.workers)]
        self._kept = {
            Kind.REDIS: [_Kept(ServerPart(Kind.REDIS, self.redis))],
            Kind.BROKER: [_Kept(ServerPart(Kind.BROKER, broker)) for broker in self.brokers],
            Kind.GATEWAY: [_Kept(part) for part in self.gateways],
            Kind.WORKER: [_Kept(part) for part in self.workers],
        }
        self.blows: Counter[tuple[Kind, Blow]] = Counter()
        self.restarts: Counter[Kind] = Counter()

    @property
    def addresses(self) -> list[str]:
        """Where the gateways listen."""
        return [f"127.0.0.1:{port}" for port in self.gateway_ports]

    @property
    def counts(self) -> Mapping[Kind, int]:
        """How many parts of each kind there are."""
        return {kind: len(kept) for kind, kept in self._kept.items()}

    def start(self) -> None:
        """Start the servers, create the topics, start the processes."""
        self.redis.start()
        for broker in self.brokers:
            broker.launch()
        for broker in self.brokers:
            broker.await_ready()
        admin = make_admin(self.settings)
        admin.ensure_topics()
        admin.close()
        self.keep()

    def keep(self) -> None:
        """Start again what has ended and may run, and thaw what has stood still long enough."""
        now_s = time.monotonic()
        for kind, kept_parts in self._kept.items():
            for kept in kept_parts:
                if kept.thaw_at_s is not None and now_s >= kept.thaw_at_s:
                    self._thaw(kept)
                if not kept.part.running and now_s >= kept.launch_at_s:
                    kept.part.launch()
                    # A process that ends at once, for want of a server, is not started in a loop.
                    kept.launch_at_s = now_s + _RESTART_PAUSE_S
                    self.restarts[kind] += 1

    def strike(self, strike: Strike) -> None:
        """Do what the schedule says."""
        kept = self._kept[strike.kind][strike.index]
        until_s = time.monotonic() + strike.down_s
        self.blows[strike.kind, strike.blow] += 1
        if strike.blow is Blow.FREEZE and isinstance(kept.part, ProcessPart) and kept.part.running:
            kept.part.freeze()
            kept.thaw_at_s = until_s
            return
        kept.part.kill()
        kept.thaw_at_s, kept.launch_at_s = None, until_s

    def heal(self) -> None:
        """Let everything run."""
        for kept_parts in self._kept.values():
            for kept in kept_parts:
                self._thaw(kept)
                kept.launch_at_s = 0.0
        self.keep()

    def stop(self) -> None:
        """End everything: processes first, so that they can still say goodbye."""
        for kind in (Kind.GATEWAY, Kind.WORKER, Kind.BROKER, Kind.REDIS):
            for kept in self._kept[kind]:
                kept.part.stop()

    def _thaw(self, kept: _Kept) -> None:
        if kept.thaw_at_s is not None and isinstance(kept.part, ProcessPart) and kept.part.running:
            kept.part.thaw()
        kept.thaw_at_s = None

    def _make_brokers(self) -> Sequence[KafkaBroker]:
        if self._options.bus != "kafka":
            return []
        if self._options.brokers == 1:
            return [KafkaBroker(self._folder / "broker")]
        return make_cluster(self._folder)

    def _worker_settings(self) -> WorkerSettings:
        return WorkerSettings(
            **self._shared(),
            model="null",
            metrics_port=0,
            log_format="json",
            drain_s=10.0,
            # The kills here are no job's fault, and hit the same job often.
            attempts_max=50,
        )

    def _shared(self) -> dict[str, object]:
        return {
            "bus": self._options.bus,
            "kafka_bootstrap": ",".join(broker.bootstrap for broker in self.brokers) or "unused:1",
            "redis_url": self.redis.url,
            "partitions": 4,
            "replication": max(1, len(self.brokers)),
            "claim_timeout_s": CLAIM_TIMEOUT_S,
        }

    def _gateway(self, port: int) -> ProcessPart:
        settings = GatewaySettings(
            **self._shared(), listen=f"127.0.0.1:{port}", metrics_port=0, log_format="json"
        )
        flags = [
            word
            for name, value in settings.model_dump(exclude_unset=True).items()
            for word in (f"--{name.replace('_', '-')}", str(value))
        ]
        command = [sys.executable, "-m", "arno.cli", "gateway", *flags]
        return self._process(Kind.GATEWAY, command, f"gateway-{port}")

    def _worker(self, number: int) -> ProcessPart:
        file = self._folder / f"worker-{number}.json"
        file.write_text(self.settings.model_dump_json())
        command = [sys.executable, "-m", self._options.worker_module, file]
        return self._process(Kind.WORKER, command, f"worker-{number}")

    def _process(self, kind: Kind, command: Sequence[str | Path], name: str) -> ProcessPart:
        paths = [str(_TESTS), os.environ.get("PYTHONPATH", "")]
        inherited = {key: value for key, value in os.environ.items() if "ARNO_" not in key}
        return ProcessPart(
            kind,
            command,
            log=self._folder / f"{name}.log",
            environment={**inherited, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
