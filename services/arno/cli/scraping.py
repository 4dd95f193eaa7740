"""Read the metrics pages of gateways and workers, and turn two readings into rates."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from arno.errors import ConfigurationError

_TIMEOUT_S: Final = 3.0
_PAGE_BYTES_MAX: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Page:
    """The metrics of one process at one moment.

    Attributes:
        url: Where they were read.
        at_s: When, on the monotonic clock.
        samples: Values by name; each with its labels.
        problem: Why there are none; empty if there are.
    """

    url: str
    at_s: float
    samples: dict[str, list[tuple[dict[str, str], float]]] = field(default_factory=dict)
    problem: str = ""

    @property
    def kind(self) -> str:
        """`gateway`, `worker`, or empty for other processes."""
        for kind, name in (
            ("gateway", "arno_gateway_open_requests"),
            ("worker", "arno_worker_jobs_total"),
        ):
            if name in self.samples or f"{name}_total" in self.samples:
                return kind
        return ""

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a name that have these labels; 0 without any."""
        return sum(
            value
            for found, value in self.samples.get(name, ())
            if all(found.get(label) == wanted for label, wanted in labels.items())
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """Two pages of one process, the earlier one first."""

    before: Page
    now: Page

    def value(self, name: str, **labels: str) -> float:
        """Return a value as it is now."""
        return self.now.value(name, **labels)

    def rate(self, name: str, **labels: str) -> float:
        """Return how much a counter rises in a second; a process that began anew counts from 0."""
        elapsed_s = self.now.at_s - self.before.at_s
        now, before = self.now.value(name, **labels), self.before.value(name, **labels)
        rise = now - before if now >= before else now
        return rise / elapsed_s if elapsed_s > 0 else 0.0


def read_pages(urls: list[str]) -> list[Page]:
    """Return the page of each address, all read at once; what fails has a problem."""
    with ThreadPoolExecutor(min(len(urls), 32)) as pool:
        return list(pool.map(_read, urls))


def page_url(address: str) -> str:
    """Return the address of a metrics page: `127.0.0.1:9100` is one, too.

    Raises:
        ConfigurationError: It is none of HTTP.
    """
    url = address if "://" in address else f"http://{address}"
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{address}: must be the http address of a metrics page")
    return url if url.rstrip("/").endswith("/metrics") else f"{url.rstrip('/')}/metrics"


def parse_page(url: str, text: str, at_s: float) -> Page:
    """Return the page of a text in Prometheus' format.

    Raises:
        ValueError: It is none.
    """
    samples: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return Page(url, at_s, samples)


def _read(url: str) -> Page:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as reply:  # noqa: S310 - http, checked
            text = reply.read(_PAGE_BYTES_MAX).decode("utf-8", "replace")
        return parse_page(url, text, time.monotonic())
    except (OSError, ValueError) as error:
        said = getattr(error, "reason", None) or error
        # Without the number of the error, which says nothing to a reader.
        said = getattr(said, "strerror", None) or said
        return Page(url, time.monotonic(), problem=str(said))
