"""What `arno up` keeps is closed to the other users of the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from support.arno_up import ArnoUp, arno
from support.availability import require
from support.redis_server import WAYS_TO_GET_IT, redis_executables

pytestmark = pytest.mark.redis

_NOBODY = 65_534

# The interpreter may stand where another user cannot read it, so the child begins as root.
_ATTACK = """
import os, pathlib, socket, sys
data, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
kept = [data, *map(pathlib.Path, sys.argv[4:])]
os.setgroups([])
os.setgid(int(sys.argv[3]))
os.setuid(int(sys.argv[3]))
for path, folder in ((path, folder) for path in kept for folder in (False, True)):
    attempts = {
        "listed": lambda: os.listdir(path) if folder else path.open("rb").read(20),
        "written": lambda: (path / "planted" if folder else path).open("ab"),
        "removed": lambda: path.unlink(),
    }
    for deed, attempt in attempts.items():
        try:
            attempt()
            print(deed, path)
        except (PermissionError, IsADirectoryError, NotADirectoryError):
            pass
for command in ("KEYS *", "SET a b", "CONFIG SET dir /", "FLUSHALL"):
    with socket.socket() as connection:
        connection.connect(("127.0.0.1", port))
        connection.sendall(command.encode() + b"\\r\\n")
        reply = connection.recv(100).decode()
        if not reply.startswith(("-NOAUTH", "-ERR unknown command")):
            print("answered:", command, reply)
print("tried everything")
"""


@pytest.fixture(autouse=True)
def _parts() -> None:
    require(redis_executables(), WAYS_TO_GET_IT)
    require(os.geteuid() == 0, "becoming another user needs root")


def test_other_user_reads_nothing_and_writes_nothing(tmp_path: Path) -> None:
    # Another user must be able to walk to the folder, or nothing is shown.
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(0o755)
    up = ArnoUp(tmp_path)
    try:
        state = json.loads((up.data / "up.json").read_text())
        port = urlsplit(state["redis_url"]).port
        kept = sorted(up.data.rglob("*"))
        assert {"password", "up.json", "logs"} <= {path.name for path in kept}
        attack = subprocess.run(
            [sys.executable, "-c", _ATTACK, up.data, str(port), str(_NOBODY), *kept],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert attack.returncode == 0, attack.stderr
        assert attack.stdout == "tried everything\n"
        password = Path(state["redis_password_file"]).read_text()
        with redis.Redis(port=port, password=password) as owner:
            assert owner.ping()
            with pytest.raises(redis.ResponseError, match="unknown command"):
                owner.config_get("dir")
        for log in (up.data / "logs").iterdir():
            assert log.stat().st_mode & 0o077 == 0
        listed = arno(
            "dead",
            "list",
            "--redis-url",
            state["redis_url"],
            "--redis-password-file",
            state["redis_password_file"],
            "--bus",
            "redis",
        )
        assert listed.exit_code == 0, listed.err
    finally:
        assert up.stop() == 0
