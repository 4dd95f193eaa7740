"""A real Prometheus with the configuration and the rules of ``deploy/prometheus``."""

from __future__ import annotations

import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from support import tied_process
from support.eventually import eventually
from support.server import Server

_SHIPPED = Path(__file__).parents[2] / "deploy" / "prometheus"

WAYS_TO_GET_IT = "no Prometheus: apt-get install prometheus"


def prometheus_available() -> bool:
    """Whether this machine has one."""
    return shutil.which("prometheus") is not None


class PrometheusServer(Server):
    """One server that scrapes what it is told, as often as the shipped configuration says."""

    def __init__(self, folder: Path, targets: Mapping[str, Sequence[int]]) -> None:
        """Prepare it; nothing runs yet.

        Args:
            folder: Empty, for this server alone.
            targets: Ports of metrics on this machine, by the job that scrapes them.
        """
        super().__init__(folder, log="prometheus.log")
        self._targets = targets

    def launch(self) -> None:
        """Start the process without waiting for it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "prometheus.yml"
        configuration.write_text(yaml.safe_dump(self._configuration()))
        command: list[str | Path] = ["prometheus", f"--config.file={configuration}"]
        command += [f"--storage.tsdb.path={self.folder / 'data'}", "--log.level=warn"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}"]
        self._process = tied_process.start_tied(command, log=self._log)

    def await_ready(self) -> None:
        """Return once it answers queries."""
        self._await_port(timeout_s=60)
        eventually(lambda: self.query("vector(1)"), timeout_s=60, what="Prometheus answers")

    def stop(self) -> None:
        """End it in order (SIGTERM)."""
        if self._process is not None:
            tied_process.stop(self._process, timeout_s=15)

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the value of each series that an expression has now."""
        query = urllib.parse.urlencode({"query": expression})
        address = f"http://127.0.0.1:{self.port}/api/v1/query?{query}"
        try:
            with urllib.request.urlopen(address, timeout=30) as response:
                answer = json.load(response)
        except OSError:
            # It listens before it can answer.
            return []
        assert answer["status"] == "success", answer
        return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]

    def firing(self) -> set[str]:
        """Return the alerts that fire now."""
        return {labels["alertname"] for labels, _ in self.query('ALERTS{alertstate="firing"}')}

    def fired(self) -> set[str]:
        """Return the alerts that have fired since it began."""
        found = self.query('count_over_time(ALERTS{alertstate="firing"}[1d])')
        return {labels["alertname"] for labels, _ in found}

    def _configuration(self) -> dict[str, Any]:
        shipped: dict[str, Any] = yaml.safe_load((_SHIPPED / "prometheus.yml").read_text())
        shipped["rule_files"] = [str(_SHIPPED / name) for name in shipped["rule_files"]]
        for job in shipped["scrape_configs"]:
            del job["dns_sd_configs"]
            addresses = [f"127.0.0.1:{port}" for port in self._targets.get(job["job_name"], ())]
            job["static_configs"] = [{"targets": addresses}]
        return shipped
