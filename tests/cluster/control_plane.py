"""A Kubernetes control plane on free loopback ports: etcd, API server, controllers, scheduler.

The programs are the real ones, built by ``scripts/kube_lab/install``. There is no kubelet, and
without `cluster.keda.start_nodes` there is no node either.
"""

from __future__ import annotations

import json
import secrets
import ssl
import subprocess
from collections.abc import Callable, Mapping
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import yaml
from arno.ops.ports import free_port
from support import tied_process
from support.certificates import Authority
from support.eventually import eventually

HOME = Path(__file__).parents[2] / ".tools/kube"
"""What scripts/kube_lab/install makes."""

_STARTS_S = 120.0


def built(*programs: str) -> bool:
    """Whether these have been built."""
    return all((HOME / "bin" / name).exists() for name in programs)


class ControlPlane:
    """One cluster, as long as the block runs. Main thread only.

    Attributes:
        folder: Its state and logs.
        authority: Signed its certificates, and is trusted by it.
        kubeconfig: For its administrator.
    """

    def __init__(self, folder: Path) -> None:
        """Prepare it in an empty folder, which is made; nothing runs yet."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._port = free_port()
        self._token = secrets.token_hex(16)
        self.authority = Authority(folder / "certificates", "cluster")
        self._ssl = ssl.create_default_context(cafile=self.authority.ca)
        # Last started, first ended: an API server without its etcd does not end.
        self._processes: list[subprocess.Popen[bytes]] = []
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(self._access()))

    def __enter__(self) -> ControlPlane:
        try:
            self._start_api_server()
            self._start_controllers()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all of it. Idempotent."""
        while self._processes:
            tied_process.stop(self._processes.pop(), timeout_s=10)

    def run(self, program: str, *flags: str | Path, variables: Mapping[str, str]) -> None:
        """Start a program of scripts/kube_lab, which ends with the cluster.

        Args:
            program: Its name.
            flags: Its flags.
            variables: Of its environment, which has nothing else.
        """
        self._processes.append(
            tied_process.start_tied(
                [HOME / "bin" / program, *flags],
                log=self.folder / f"{program}.log",
                environment={"PATH": "/usr/bin:/bin", **variables},
            )
        )

    def await_true(self, what: str, probe: Callable[[], bool]) -> None:
        """Return once a probe says so; an OSError of the probe counts as no.

        Raises:
            AssertionError: A program has ended, or it takes too long.
        """

        def answered() -> bool:
            ended = [one.args for one in self._processes if one.poll() is not None]
            assert not ended, f"ended at its start: {ended}; its log is in {self.folder}"
            try:
                return probe()
            except OSError:
                # It does not listen yet.
                return False

        eventually(answered, timeout_s=_STARTS_S, interval_s=0.2, what=what)

    def kubectl(self, *words: str | Path, given: str = "") -> str:
        """Return what kubectl prints.

        Args:
            words: Its verb and flags.
            given: Its standard input.

        Raises:
            AssertionError: It failed; the message is what it says.
        """
        done = self.asked(*words, given=given)
        assert done.returncode == 0, f"kubectl {' '.join(map(str, words))}: {done.stderr}"
        return done.stdout

    def asked(self, *words: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
        """Do the same, and return how it ended and what it said."""
        command = [HOME / "bin/kubectl", "--kubeconfig", self.kubeconfig]
        command += ["--cache-dir", self.folder / "cache", *words]
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False)

    def get(self, path: str) -> Any:
        """Return what the API server has at a path: an object or text; None where it has nothing.

        Raises:
            OSError: It does not answer.
        """
        connection = HTTPSConnection("127.0.0.1", self._port, context=self._ssl, timeout=10)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self._token}"})
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status != 200:
            return None
        return json.loads(text) if text.startswith("{") else text

    def _start_api_server(self) -> None:
        etcd, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.run(
            "etcd",
            *("--data-dir", self.folder / "etcd", "--unsafe-no-fsync", "--log-level", "warn"),
            *("--listen-client-urls", etcd, "--advertise-client-urls", etcd),
            *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
            *("--initial-cluster", f"default={peers}"),
            variables={},
        )
        tokens = self.folder / "tokens.csv"
        tokens.write_text(f"{self._token},admin,admin,system:masters\n")
        pairs = {name: self.authority.pair(name) for name in ("server", "front-proxy", "accounts")}
        server, proxy, accounts = pairs.values()
        self.run(
            "kube-apiserver",
            *("--etcd-servers", etcd, "--endpoint-reconciler-type", "none"),
            *("--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"),
            *("--secure-port", str(self._port), "--service-cluster-ip-range", "10.0.0.0/24"),
            *("--authorization-mode", "RBAC", "--token-auth-file", tokens),
            *("--tls-cert-file", server.certificate, "--tls-private-key-file", server.key),
            *("--client-ca-file", self.authority.ca),
            *("--service-account-issuer", "https://kubernetes.default.svc"),
            *("--service-account-key-file", accounts.certificate),
            *("--service-account-signing-key-file", accounts.key),
            *("--requestheader-client-ca-file", self.authority.ca),
            *("--requestheader-allowed-names", "front-proxy"),
            *("--requestheader-username-headers", "X-Remote-User"),
            *("--requestheader-group-headers", "X-Remote-Group"),
            *("--requestheader-extra-headers-prefix", "X-Remote-Extra-"),
            *("--proxy-client-cert-file", proxy.certificate),
            *("--proxy-client-key-file", proxy.key),
            variables={},
        )
        self._accounts_key = accounts.key
        self.await_true("the API server is ready", lambda: self.get("/readyz") == "ok")

    def _start_controllers(self) -> None:
        local = ("--kubeconfig", self.kubeconfig, "--bind-address", "127.0.0.1")
        self.run(
            "kube-controller-manager",
            *(*local, "--leader-elect=false", "--secure-port", str(free_port())),
            *("--service-account-private-key-file", self._accounts_key),
            *("--root-ca-file", self.authority.ca),
            variables={},
        )
        self.run(
            "kube-scheduler",
            *(*local, "--leader-elect=false", "--secure-port", str(free_port())),
            variables={},
        )

    def _access(self) -> Mapping[str, Any]:
        cluster = {
            "server": f"https://127.0.0.1:{self._port}",
            "certificate-authority": str(self.authority.ca.resolve()),
        }
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self._token}}],
        }
