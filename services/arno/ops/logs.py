"""Logs: one event a line, JSON for machines or coloured text for a terminal.

Every line carries the process's name and, where there is one, the trace id; whatever a caller gives
through ``extra=`` becomes a field of its own (``job_id``, ``partition``, ``offset``, ...).
Passwords in addresses, bearer tokens and API keys are masked, those of libraries included.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Literal

from arno.ops.masking import masked

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_TOO_LONG_FOR_PEOPLE = frozenset({"settings"})
"""Fields that only JSON lines carry; the message says the part of them that people look for."""

_COLOURS = {"DEBUG": "2", "INFO": "36", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}


def configure_logs(
    process: str,
    *,
    level: str = "INFO",
    log_format: Literal["auto", "json", "text"] = "auto",
    trace_id: Callable[[], str | None] = lambda: None,
) -> None:
    """Send all logs of this process to standard error.

    Args:
        process: Name that each line carries.
        level: Least level that is logged.
        log_format: ``auto`` is text on a terminal and JSON elsewhere.
        trace_id: Returns the trace that the calling code works on, or None.
    """
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    formatter = TextFormatter if text else JsonFormatter
    handler.setFormatter(formatter(process, trace_id))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)


class _EventFormatter(logging.Formatter):
    def __init__(self, process: str, trace_id: Callable[[], str | None]) -> None:
        super().__init__()
        self._process = process
        self._trace_id = trace_id

    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if "trace_id" not in fields and (trace_id := self._trace_id()) is not None:
            fields["trace_id"] = trace_id
        return fields


class JsonFormatter(_EventFormatter):
    """One JSON object a line; times are UTC with milliseconds."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the event as a line of JSON."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        event: dict[str, object] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
            **self._fields(record),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return masked(json.dumps(event, default=str, ensure_ascii=False))


class TextFormatter(_EventFormatter):
    """Short coloured lines for people; times are local."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the event as a coloured line, with the traceback below it."""
        stamp = time.strftime("%H:%M:%S", time.localtime(record.created))
        colour = _COLOURS.get(record.levelname, "0")
        fields = "".join(
            f" \x1b[2m{name}=\x1b[0m{value}"
            for name, value in self._fields(record).items()
            if name not in _TOO_LONG_FOR_PEOPLE
        )
        line = (
            f"\x1b[2m{stamp}\x1b[0m \x1b[{colour}m{record.levelname:<7}\x1b[0m "
            f"\x1b[2m{self._process}\x1b[0m {record.getMessage()}{fields}"
        )
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return masked(line)
