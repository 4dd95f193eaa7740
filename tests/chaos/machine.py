"""All processes of one installation, kept running between the disruptions."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from arno.bus import make_admin
from arno.gateway.settings import GatewaySettings
from arno.ops.ports import free_port
from arno.worker.settings import WorkerSettings
from chaos import skewed
from chaos.echo_engine import slow_file
from chaos.parts import ProcessPart, Running, ServerPart
from chaos.schedule import Nemesis, Part
from support.kafka_broker import KafkaBroker
from support.kafka_cluster import make_cluster
from support.redis_server import RedisServer, redis_executables
from support.tcp_proxy import ThreadedProxy, proxy_on_a_thread

CLAIM_TIMEOUT_S = 3.0
_TESTS = Path(__file__).parents[1]
_RESTART_PAUSE_S = 0.5


@dataclass(slots=True)
class Kept:
    """A part that is started again whenever it has ended.

    Attributes:
        part: The process.
        launch_at_s: Not to be started before then.
        network: What stands between the process and the store; None for a server.
        clock: The file with the error of the process's clock; None for a server.
        slow: The file that slows a worker down.
    """

    part: Running
    launch_at_s: float = 0.0
    network: ThreadedProxy | None = None
    clock: Path | None = None
    slow: Path | None = None


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """What the installation is made of.

    Attributes:
        bus: ``kafka`` or ``redis``.
        brokers: 1 or 3; nothing on Redis.
        gateways: How many.
        workers: How many.
        worker_module: What is run as a worker, with its settings' file.
        nemeses: What will be done to it: clocks and networks that can be disturbed cost a little,
            and are there only where they are needed.
    """

    bus: str = "kafka"
    brokers: int = 1
    gateways: int = 2
    workers: int = 2
    worker_module: str = "chaos.worker_process"
    nemeses: frozenset[Nemesis] = frozenset()


class Machine:
    """Starts everything, and starts again what has ended. Main thread only."""

    def __init__(self, folder: Path, options: MachineOptions) -> None:
        """Choose ports and write settings; nothing runs yet."""
        self.folder = folder
        self._options = options
        self._networks = ExitStack()
        executable = next(iter(redis_executables().values()))
        self.redis = RedisServer(folder / "redis", executable, appendfsync="always")
        self.brokers = self._make_brokers()
        self.gateway_ports = [free_port() for _ in range(options.gateways)]
        self.metrics_ports = [free_port() for _ in range(options.gateways)]
        self.settings = self._worker_settings()
        ports = zip(self.gateway_ports, self.metrics_ports, strict=True)
        self.kept: dict[Part, Sequence[Kept]] = {
            Part.REDIS: [Kept(ServerPart(Part.REDIS, self.redis))],
            Part.BROKER: [Kept(ServerPart(Part.BROKER, broker)) for broker in self.brokers],
            Part.GATEWAY: [self._gateway(*pair) for pair in ports],
            Part.WORKER: [self._worker(number) for number in range(options.workers)],
        }
        self.gateways = [self._process_of(kept) for kept in self.kept[Part.GATEWAY]]
        self.workers = [self._process_of(kept) for kept in self.kept[Part.WORKER]]
        self.restarts: Counter[Part] = Counter()

    @property
    def addresses(self) -> list[str]:
        """Where the gateways listen."""
        return [f"127.0.0.1:{port}" for port in self.gateway_ports]

    @property
    def counts(self) -> Mapping[Part, int]:
        """How many parts of each kind there are."""
        return {part: len(kept) for part, kept in self.kept.items()}

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
        """Start again what has ended and may run."""
        now_s = time.monotonic()
        for part, kept_parts in self.kept.items():
            for kept in kept_parts:
                if not kept.part.running and now_s >= kept.launch_at_s:
                    kept.part.launch()
                    # A process that ends at once, for want of a server, is not started in a loop.
                    kept.launch_at_s = now_s + _RESTART_PAUSE_S
                    self.restarts[part] += 1

    def add(self, part: Part, module: Sequence[str | Path], name: str) -> Kept:
        """Keep one more process running from now on."""
        kept = self._process(part, module, name)
        self.kept[part] = [*self.kept.get(part, ()), kept]
        return kept

    def stop(self) -> None:
        """End everything: processes first, so that they can leave in order."""
        for part in (Part.BRIDGE, Part.GATEWAY, Part.WORKER, Part.BROKER, Part.REDIS):
            for kept in self.kept.get(part, ()):
                kept.part.stop()
        self._networks.close()

    def _make_brokers(self) -> Sequence[KafkaBroker]:
        if self._options.bus != "kafka":
            return []
        if self._options.brokers == 1:
            return [KafkaBroker(self.folder / "broker")]
        return make_cluster(self.folder)

    def _worker_settings(self) -> WorkerSettings:
        return WorkerSettings(
            **self._shared(self.redis.url),
            model="null",
            metrics_port=0,
            log_format="json",
            drain_s=10.0,
            # The kills here are no job's fault, and hit the same job often.
            attempts_max=50,
        )

    def _shared(self, redis_url: str) -> dict[str, object]:
        return {
            "bus": self._options.bus,
            "kafka_bootstrap": ",".join(broker.bootstrap for broker in self.brokers) or "unused:1",
            "redis_url": redis_url,
            "partitions": 4,
            "replication": max(1, len(self.brokers)),
            "claim_timeout_s": CLAIM_TIMEOUT_S,
        }

    def _gateway(self, port: int, metrics_port: int) -> Kept:
        network = self._network()
        settings = GatewaySettings(
            **self._shared(self._redis_url(network)),
            listen=f"127.0.0.1:{port}",
            metrics_port=metrics_port,
            log_format="json",
        )
        flags = [
            word
            for name, value in settings.model_dump(exclude_unset=True).items()
            for word in (f"--{name.replace('_', '-')}", str(value))
        ]
        kept = self._process(Part.GATEWAY, ["arno.cli", "gateway", *flags], f"gateway-{port}")
        kept.network = network
        return kept

    def _worker(self, number: int) -> Kept:
        network = self._network()
        file = self.folder / f"worker-{number}.json"
        settings = self.settings.model_copy(update={"redis_url": self._redis_url(network)})
        file.write_text(settings.model_dump_json())
        command: list[str | Path] = [self._options.worker_module, file]
        kept = self._process(Part.WORKER, command, f"worker-{number}")
        kept.network, kept.slow = network, slow_file(file)
        return kept

    def _network(self) -> ThreadedProxy | None:
        if not self._options.nemeses & {Nemesis.DEAF, Nemesis.MUTE}:
            return None
        return self._networks.enter_context(proxy_on_a_thread(self.redis.port))

    def _redis_url(self, network: ThreadedProxy | None) -> str:
        return self.redis.url if network is None else f"redis://127.0.0.1:{network.port}/0"

    def _process(self, part: Part, module: Sequence[str | Path], name: str) -> Kept:
        clock = None
        if Nemesis.CLOCK in self._options.nemeses:
            clock = self.folder / f"{name}.clock"
            module = [skewed.__name__, clock, *module]
        paths = [str(_TESTS), os.environ.get("PYTHONPATH", "")]
        inherited = {key: value for key, value in os.environ.items() if "ARNO_" not in key}
        process = ProcessPart(
            part,
            [sys.executable, "-m", *module],
            log=self.folder / f"{name}.log",
            environment={**inherited, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        return Kept(process, clock=clock)

    def _process_of(self, kept: Kept) -> ProcessPart:
        assert isinstance(kept.part, ProcessPart)
        return kept.part
