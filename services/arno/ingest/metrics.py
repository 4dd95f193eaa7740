"""Every instrument of ``arno ingest``."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from arno.bus.ports import ConsumerStatistics

# From a null engine to a long queue: 5 ms to 10 min.
_RECORD_BUCKETS_S = (
    *(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
    *(10.0, 30.0, 60.0, 120.0, 600.0),
)


class IngestMetrics:
    """The instruments, in the registry passed in; labelled by topic or source."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all of them."""
        self.records = Counter(
            "arno_ingest_records_total",
            "Records finished: answered, or dead letters.",
            ["topic", "outcome"],
            registry=registry,
        )
        self.retries = Counter(
            "arno_ingest_retries_total",
            "Attempts to get an answer that are repeated, by reason.",
            ["topic", "reason"],
            registry=registry,
        )
        self.record_seconds = Histogram(
            "arno_ingest_record_seconds",
            "From the timestamp of a record to the acknowledgement of its result.",
            ["topic"],
            buckets=_RECORD_BUCKETS_S,
            registry=registry,
        )
        self.in_hand_records = self._gauge(registry, "in_hand_records", "Records in flight.")
        self.in_hand_bytes = self._gauge(registry, "in_hand_bytes", "Bytes of those records.")
        self.lag_records = self._gauge(
            registry, "lag_records", "Records of assigned partitions not yet finished."
        )
        self.partitions = self._gauge(registry, "partitions", "Partitions assigned.")
        self.paused = self._gauge(registry, "paused", "Whether reading is paused.")

        self.frames = Counter(
            "arno_ingest_frames_total",
            "Frames of sources, by what became of them.",
            ["source", "outcome"],
            registry=registry,
        )
        self.frame_seconds = Histogram(
            "arno_ingest_frame_seconds",
            "From sending a frame to its result.",
            ["source"],
            buckets=_RECORD_BUCKETS_S,
            registry=registry,
        )
        self.source_up = Gauge(
            "arno_ingest_source_up",
            "Whether the latest frames of a source were answered.",
            ["source"],
            registry=registry,
        )
        self.source_restarts = Counter(
            "arno_ingest_source_restarts_total",
            "Runs of a source that failed.",
            ["source"],
            registry=registry,
        )

    def _gauge(self, registry: CollectorRegistry, name: str, meaning: str) -> Gauge:
        return Gauge(f"arno_ingest_{name}", meaning, ["topic"], registry=registry)


class SourceMetrics:
    """The instruments of one source."""

    def __init__(self, metrics: IngestMetrics, source: str) -> None:
        """Take the source's name."""
        self._frames = {
            outcome: metrics.frames.labels(source, outcome)
            for outcome in ("answered", "held", "dropped", "failed")
        }
        self._seconds = metrics.frame_seconds.labels(source)
        self.up = metrics.source_up.labels(source)
        self.restarts = metrics.source_restarts.labels(source)

    def told(self, outcome: str, latency_s: float | None) -> None:
        """Count a frame whose outcome is known."""
        self._frames[outcome].inc()
        if outcome == "answered" and latency_s is not None:
            self._seconds.observe(latency_s)
        if outcome in {"answered", "failed"}:
            self.up.set(outcome == "answered")


class BridgeMetrics:
    """The instruments of one topic."""

    def __init__(self, metrics: IngestMetrics, topic: str) -> None:
        """Take the topic that is read."""
        # Looked up once: they are used with every record and every poll.
        self._outcomes = {
            outcome: metrics.records.labels(topic, outcome) for outcome in ("answered", "dead")
        }
        self._seconds = metrics.record_seconds.labels(topic)
        self._retries = metrics.retries
        self._topic = topic
        self._in_hand_records = metrics.in_hand_records.labels(topic)
        self._in_hand_bytes = metrics.in_hand_bytes.labels(topic)
        self._lag_records = metrics.lag_records.labels(topic)
        self._partitions = metrics.partitions.labels(topic)
        self._paused = metrics.paused.labels(topic)

    def finished(self, outcome: str, *, appended_at_ms: int) -> None:
        """Count a record that is answered or dead."""
        self._outcomes[outcome].inc()
        if appended_at_ms >= 0:
            self._seconds.observe(max(0.0, time.time() - appended_at_ms / 1000))

    def retried(self, reason: str) -> None:
        """Count an attempt that is repeated."""
        self._retries.labels(self._topic, reason).inc()

    def observe(self, numbers: ConsumerStatistics, bytes_in_hand: int) -> None:
        """Show the numbers of a consumer."""
        self._in_hand_records.set(numbers.unfinished_count)
        self._in_hand_bytes.set(bytes_in_hand)
        self._lag_records.set(sum(numbers.lag.values()))
        self._partitions.set(numbers.partition_count)
        self._paused.set(numbers.paused)
