"""Become another program, tied to the life of the process that asked for it.

Run as a script, with nothing else imported: ``tied_launcher.py PARENT_PID PROGRAM ARGUMENT..``.
The kernel then kills the program when its parent ends, however that ends; the wish survives exec.

Stands alone: it runs as a script, before anything of Arno is imported.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def become(parent_pid: int, command: list[str]) -> None:
    """Ask to be killed with the parent, and become the command."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit("the parent ended before this process began")
    os.execvp(command[0], command)  # noqa: S606 - the command comes from our own parent


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
