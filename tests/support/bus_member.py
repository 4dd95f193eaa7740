"""A member of the workers' group as a process of its own, to be killed.

    python bus_member.py SETTINGS_JSON CHANNEL WORK_S

It prints ``got VALUE`` when a record comes, works on it for a random time below WORK_S, prints
``did VALUE`` (its stored result), and only then declares it done. With WORK_S 0 it never finishes.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from pathlib import Path

from arno.bus import BusSettings, Consumer, Delivery, make_consumer


def start_member(
    settings: BusSettings, channel: str, *, log: Path, work_s: float = 0.0
) -> subprocess.Popen[bytes]:
    """Start a member whose lines go to the log."""
    from support.tied_process import start_tied

    command = [sys.executable, "-u", __file__, settings.model_dump_json(), channel, str(work_s)]
    return start_tied(command, log=log)


def lines(log: Path, word: str) -> list[bytes]:
    """Return the values after this word: ``got`` or ``did``."""
    if not log.exists():
        return []
    # A killed process may leave half a line.
    whole = log.read_bytes().rpartition(b"\n")[0].split(b"\n")
    return [line.split()[1] for line in whole if line.startswith(word.encode() + b" ")]


def _say(word: bytes, delivery: Delivery) -> None:
    sys.stdout.buffer.write(word + b" " + delivery.record.value + b"\n")
    sys.stdout.buffer.flush()


def _work(consumer: Consumer, delivery: Delivery) -> None:
    _say(b"did", delivery)
    consumer.done(delivery.receipt)


def main() -> None:
    """Poll for ever."""
    settings = BusSettings.model_validate_json(sys.argv[1])
    work_s = float(sys.argv[3])
    consumer = make_consumer(settings, [sys.argv[2]])
    consumer.start()
    while True:
        for delivery in consumer.poll(0.05):
            _say(b"got", delivery)
            if work_s:
                delay_s = random.uniform(0, work_s)
                threading.Timer(delay_s, _work, [consumer, delivery]).start()


if __name__ == "__main__":
    main()
