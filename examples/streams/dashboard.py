"""A dashboard of what cameras see: reads the lines of `arno ingest` from a topic, shows one page.

    python dashboard.py --bootstrap 127.0.0.1:9092 --topic gate.seen --listen 127.0.0.1:8090

It needs a Kafka client (`pip install kafka-python`) and nothing of Arno. The page is at /, the
numbers behind it at /counts.json. It reads what is written from now on, without a group: run as
many as you like.
"""

from __future__ import annotations

import argparse
import html
import json
import threading
import time
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kafka import KafkaConsumer, TopicPartition

EVENTS_SHOWN = 20
RATE_OVER_S = 10.0

PAGE = """<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="1">
<title>What cameras see</title>
<style>
 body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 50rem }}
 table {{ border-collapse: collapse; width: 100% }}
 th, td {{ border-bottom: 1px solid #ccc; padding: .3rem .6rem; text-align: left }}
 td.n {{ font-variant-numeric: tabular-nums; text-align: right }}
</style>
<h1>What cameras see</h1>
<table>
<tr><th>camera<th>answers a second<th>answered<th>left out<th>failed<th>seen now</tr>
{cameras}
</table>
<h2>Lately</h2>
<table><tr><th>camera<th>second<th>what happened</tr>{events}</table>"""


class Camera:
    """What is known of one camera."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.counts: Counter[str] = Counter()
        self.now: Counter[str] = Counter()
        self.answered_s: deque[float] = deque(maxlen=1000)

    def rate(self) -> float:
        """Return the answers a second of the last seconds."""
        since_s = time.monotonic() - RATE_OVER_S
        return sum(at_s > since_s for at_s in self.answered_s) / RATE_OVER_S


class Dashboard:
    """The numbers, fed by one thread and shown by others."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._cameras: dict[str, Camera] = {}
        self._events: deque[tuple[str, float, str]] = deque(maxlen=EVENTS_SHOWN)

    def take(self, camera: str, line: dict[str, Any]) -> None:
        """Count the line of one frame."""
        with self._lock:
            found = self._cameras.setdefault(camera, Camera())
            kind = "failed" if "error" in line else "left out" if "dropped" in line else "answered"
            found.counts[kind] += 1
            if kind != "answered":
                return
            found.answered_s.append(time.monotonic())
            found.now = Counter(labels(line))
            for event in line.get("events", ()):
                place = event.get("line") or event.get("zone") or ""
                said = f"{event['label']} {event['track']} {event['kind']} {place}"
                self._events.appendleft((camera, line["timestamp_ms"] / 1000, said.strip()))

    def numbers(self) -> dict[str, Any]:
        """Return everything that is shown."""
        with self._lock:
            return {
                "cameras": {
                    name: {"rate": one.rate(), "counts": one.counts, "now": one.now}
                    for name, one in self._cameras.items()
                },
                "events": list(self._events),
            }

    def page(self) -> str:
        """Return the page; what is written on it comes from outside, so it is escaped."""
        numbers = self.numbers()
        cameras = [row(name, one) for name, one in sorted(numbers["cameras"].items())]
        events = [
            f"<tr><td>{html.escape(camera)}<td class=n>{at_s:.1f}<td>{html.escape(said)}</tr>"
            for camera, at_s, said in numbers["events"]
        ]
        return PAGE.format(cameras="".join(cameras), events="".join(events))


def row(name: str, camera: dict[str, Any]) -> str:
    """Return a row of the table of cameras."""
    counts = [camera["counts"][kind] for kind in ("answered", "left out", "failed")]
    now = ", ".join(f"{count} {label}" for label, count in camera["now"].items())
    numbers = "".join(f"<td class=n>{number}" for number in (f"{camera['rate']:.1f}", *counts))
    return f"<tr><td>{html.escape(name)}{numbers}<td>{html.escape(now)}</tr>"


def labels(line: dict[str, Any]) -> list[str]:
    """Return the labels of all regions on a frame."""
    return [
        region.get("label", "")
        for result in line.get("results", ())
        for region in result.get("answer", {}).get("detection", {}).get("regions", ())
    ]


def read(bootstrap: str, topic: str, dashboard: Dashboard) -> None:
    """Feed the dashboard with what is written to the topic from now on."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None)
    while not (numbers := consumer.partitions_for_topic(topic)):
        time.sleep(1)
    partitions = [TopicPartition(topic, number) for number in numbers]
    consumer.assign(partitions)
    consumer.seek_to_end(*partitions)
    while True:
        for records in consumer.poll(500).values():
            for record in records:
                dashboard.take((record.key or b"").decode(), json.loads(record.value))


def handler(dashboard: Dashboard) -> type[BaseHTTPRequestHandler]:
    """Return what answers browsers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/counts.json":
                self._answer("application/json", json.dumps(dashboard.numbers()))
            elif self.path == "/":
                self._answer("text/html; charset=utf-8", dashboard.page())
            else:
                self.send_error(404)

        def _answer(self, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    return Handler


def main() -> None:
    """Run until stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bootstrap", default="127.0.0.1:9092")
    parser.add_argument("--topic", default="gate.seen")
    parser.add_argument("--listen", default="127.0.0.1:8090")
    given = parser.parse_args()
    dashboard = Dashboard()
    host, _, port = given.listen.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), handler(dashboard))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"dashboard on http://{given.listen}", flush=True)
    read(given.bootstrap, given.topic, dashboard)


if __name__ == "__main__":
    main()
