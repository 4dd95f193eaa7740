"""Child processes that cannot outlive the test run, however it ends.

A fixture's teardown covers the normal end. For SIGKILL, SIGTERM and a crashed xdist worker, the
child asks the kernel to be killed when its parent goes: a small launcher sets the parent-death
signal on itself and then becomes the program.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_LAUNCHER = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the test run ended before this process began")
os.execvp(sys.argv[2], sys.argv[2:])
"""


def start_tied(
    command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in its own session, with its output appended to a file.

    The own session keeps Ctrl-C from reaching the program before its fixture stops it. The
    kernel ties it to the thread that starts it, hence the main thread only.
    """
    assert threading.current_thread() is threading.main_thread()
    launcher = [sys.executable, "-S", "-E", "-c", _LAUNCHER, str(os.getpid())]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*launcher, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=None if environment is None else dict(environment),
        )


def stop(process: subprocess.Popen[bytes], *, timeout_s: float) -> None:
    """End a process with SIGTERM, or with SIGKILL after the timeout. Idempotent."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process with SIGKILL, as a crash would, and wait until it is gone."""
    process.kill()
    process.wait()


def await_port(process: subprocess.Popen[bytes], port: int, *, log: Path, timeout_s: float) -> None:
    """Return once the port accepts; else fail with the end of the log."""
    deadline_s = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    kill(process)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    raise AssertionError(f"no listener on port {port} (exit {process.returncode}):\n{tail}")
