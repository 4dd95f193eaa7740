"""Import what models need, then fork a process for each program that standard input asks for.

Each line is a question as JSON: a program to start, answered by its process id, or a process id,
answered by its exit code, or by null while it runs.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import runpy
import signal
import sys
import threading
from typing import Any, NoReturn

import arno.cli.main
import arno.engine.continuous_engine
import arno.training.trainer.fine_tune  # noqa: F401 - what the programs import

_PR_SET_PDEATHSIG = 1


def become(asked: dict[str, Any]) -> NoReturn:
    """Be the program, as if Python had been started with it."""
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    streams = (os.devnull, os.O_RDONLY), (asked["out"], os.O_WRONLY), (asked["err"], os.O_WRONLY)
    for number, (path, flags) in enumerate(streams):
        os.dup2(os.open(path, flags | os.O_APPEND), number)
    os.chdir(asked["folder"])
    os.environ.update(asked["variables"])
    sys.path[0] = asked["folder"]
    code: object = None
    try:
        if "code" in asked:
            sys.argv = ["-c"]
            exec(asked["code"], {"__name__": "__main__"})  # noqa: S102 - a test's own
        else:
            sys.argv = [asked["module"], *asked["words"]]
            runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
        code = 1
    end_as_python_does(code)


def end_as_python_does(code: object) -> NoReturn:
    """End without freeing each object of torch, which takes a second where memory is shared."""
    threading._shutdown()
    atexit._run_exitfuncs()
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else code is not None)


def answer(asked: dict[str, Any]) -> int | None:
    """Return the answer to a question."""
    if "poll" in asked:
        pid, status = os.waitpid(asked["poll"], os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None
    for name in ("out", "err"):
        os.close(os.open(asked[name], os.O_WRONLY | os.O_CREAT, 0o600))
    pid = os.fork()
    if not pid:
        become(asked)
    return pid


if __name__ == "__main__":
    # Ctrl-C is for pytest, whose end closes standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A collection in a child would copy the memory of every object.
    gc.freeze()
    for line in iter(sys.stdin.readline, ""):
        sys.stdout.write(f"{json.dumps(answer(json.loads(line)))}\n")
        sys.stdout.flush()
    os._exit(0)
