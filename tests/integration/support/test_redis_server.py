"""The redis-server that tests use keeps what it acknowledged, and goes when its test run goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from support.availability import require
from support.eventually import eventually
from support.redis_server import RedisServer, redis_executables

pytestmark = pytest.mark.redis

TESTS = Path(__file__).parents[2]


def test_killed_server_comes_back_with_what_it_acknowledged(own_redis_server: RedisServer) -> None:
    with redis.Redis.from_url(own_redis_server.url) as client:
        client.set("kept", "yes")
        own_redis_server.restart_after_kill()
        assert client.get("kept") == b"yes"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_server_dies_with_the_process_that_started_it(tmp_path: Path, end: signal.Signals) -> None:
    executables = redis_executables()
    require(executables, "no redis-server")
    script = (
        "import sys, pathlib; from support.redis_server import RedisServer\n"
        "server = RedisServer(*map(pathlib.Path, sys.argv[1:]))\n"
        "server.start()\n"
        "print(server._process.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(next(iter(executables.values())))]
    with subprocess.Popen(
        command,
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        server_pid = int(parent.stdout.readline())
        assert _alive(server_pid)
        parent.send_signal(end)
        parent.wait()
    eventually(lambda: not _alive(server_pid), what="the server is gone")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
