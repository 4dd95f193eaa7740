"""A real Kafka broker on free loopback ports, that a test may kill and start again.

It runs from the jars of ``scripts/kafka/install`` with the properties of ``scripts/kafka``. The
first clean stop leaves a class-data archive beside the jars, which takes a second start from 4 s to
1.5 s.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import uuid
from pathlib import Path

from arno.ops.ports import free_port
from support import tied_process
from support.server import Server

_ROOT = Path(__file__).parents[2]
_TOOLS = _ROOT / ".tools" / "kafka"
_PROPERTIES = _ROOT / "scripts" / "kafka" / "server.properties"
_JVM = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
# An archive of other jars is ignored; that it was is not worth a warning.
_QUIET = ["-Xlog:cds=off", "-Xlog:cds+dynamic=off", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]

WAYS_TO_GET_IT = "no Kafka broker: needs Java 17 and the jars of scripts/kafka/install"


def kafka_available() -> bool:
    """Whether this machine has Java and the jars."""
    return shutil.which("java") is not None and bool(_jars())


class KafkaBroker(Server):
    """One broker; its ports and its data stay the same across ``kill`` and ``start``."""

    def __init__(self, folder: Path) -> None:
        """Prepare a broker in an empty folder; nothing runs yet."""
        super().__init__(folder, log="broker.log")
        # Where clients are sent to: a proxy's port, where a test puts one in between.
        self.advertised_port = self.port
        self.controller_port = free_port()
        self._class_path = ":".join(map(str, _jars()))
        # The archive is good for exactly this class path.
        digest = hashlib.sha256(self._class_path.encode()).hexdigest()[:12]
        self._archive = _TOOLS / f"classes-{digest}.jsa"
        self._new_archive = folder / "classes.jsa"

    @property
    def bootstrap(self) -> str:
        """Where it listens: ``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self.port}"

    def launch(self) -> None:
        """Start the process without waiting for it."""
        properties = self.folder / "server.properties"
        if not properties.exists():
            self._format(properties)
        command = [*self._java(), "kafka.Kafka", str(properties)]
        self._process = tied_process.start_tied(command, log=self._log)

    def await_ready(self) -> None:
        """Return once a launched broker accepts."""
        self._await_port(timeout_s=120)

    def stop(self) -> None:
        """End it in order (SIGTERM), and keep its class-data archive for later brokers."""
        if self._process is None:
            return
        tied_process.stop(self._process, timeout_s=20)
        if self._new_archive.exists() and not self._archive.exists():
            # Another worker may do the same; a rename is whole or not at all.
            arriving = self._archive.with_suffix(f".{os.getpid()}")
            shutil.copy(self._new_archive, arriving)
            arriving.rename(self._archive)

    def _java(self) -> list[str]:
        if self._archive.exists():
            classes = f"-XX:SharedArchiveFile={self._archive}"
        else:
            classes = f"-XX:ArchiveClassesAtExit={self._new_archive}"
        return ["java", *_JVM, classes, *_QUIET, "-cp", self._class_path]

    def _format(self, properties: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        properties.write_text(self._properties())
        command = [*self._java(), "kafka.tools.StorageTool", "format", *self._identity()]
        command += ["-c", str(properties)]
        subprocess.run(command, check=True, capture_output=True, timeout=180)
        # What the tool loads is not what a broker loads.
        self._new_archive.unlink(missing_ok=True)

    def _properties(self) -> str:
        text = _PROPERTIES.read_text()
        text = text.replace("@DATA@", str(self.folder / "data"))
        advertised = "advertised.listeners=PLAINTEXT://127.0.0.1:"
        text = text.replace(f"{advertised}@PORT@", f"{advertised}{self.advertised_port}")
        text = text.replace("@PORT@", str(self.port))
        return text.replace("@CONTROLLER_PORT@", str(self.controller_port))

    def _identity(self) -> list[str]:
        return ["--standalone", "-t", kafka_id()]


def _jars() -> list[Path]:
    return sorted((_TOOLS / "libs").glob("*.jar"))


def kafka_id() -> str:
    """Return a new id for a cluster or a directory, as Kafka's tools take it."""
    # One that began with a dash would be read as an option.
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text
