"""The engines that are measured, all behind one interface and in processes of their own.

`hosted` runs an engine of this package in a child process and asks it through a pipe; `over_http`
starts a server of another project, written as its documentation would have it, and asks it over
loopback.
"""

from benchmarks.ask import UnavailableError
from benchmarks.engines.registry import ENGINES, start

__all__ = ["ENGINES", "UnavailableError", "start"]
