"""What is measured, each behind the same interface and in processes of its own.

`hosted` runs an engine of this package in a child process and asks it through a pipe; `over_http`
starts a server of another project, written as its documentation would have it, and asks it over
loopback.
"""

from benchmarks.engines.registry import ENGINES, UnavailableError, start

__all__ = ["ENGINES", "UnavailableError", "start"]
