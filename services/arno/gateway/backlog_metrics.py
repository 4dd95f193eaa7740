"""Show what is ahead and what was refused for it, read when scraped."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from arno.gateway.admission import AdmissionStatistics
from arno.gateway.backlog import Backlog
from arno.vocabulary import Lane


class BacklogCollector(Collector):
    """Leaves out what is not known, so that an autoscaler never acts on a guess."""

    def __init__(self, backlog: Backlog, admission: Callable[[], AdmissionStatistics]) -> None:
        """Take where the numbers are."""
        self._backlog = backlog
        self._admission = admission

    def collect(self) -> Iterator[Metric]:
        """Read the numbers of this moment."""
        records = GaugeMetricFamily(
            "arno_gateway_backlog_records",
            "Records of all gateways that wait or are in a worker's hands.",
            labels=["lane"],
        )
        work = GaugeMetricFamily(
            "arno_gateway_backlog_seconds",
            "Predicted time that one worker would need for them.",
            labels=["lane"],
        )
        for lane in Lane:
            count, work_s = self._backlog.record_count(lane), self._backlog.work_s(lane)
            if count is not None:
                records.add_metric([lane], count)
            if work_s is not None:
                work.add_metric([lane], work_s)
        yield from (records, work, self._refusals())

    def describe(self) -> Iterator[Metric]:
        """Return nothing: registering must not ask for numbers."""
        return iter(())

    def _refusals(self) -> Metric:
        refusals = CounterMetricFamily(
            "arno_gateway_refusals",
            "Jobs refused, by the budget that was spent.",
            labels=["lane", "budget"],
        )
        for (lane, budget), count in self._admission().refused_counts.items():
            refusals.add_metric([lane, budget], count)
        return refusals
