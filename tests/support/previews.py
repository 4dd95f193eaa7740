"""The previews of `arno ingest`, on a side door of this process, fed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from arno.ingest.videos.preview import PreviewPages
from arno.ops.health import HealthServer, Probes
from prometheus_client import CollectorRegistry
from support import images
from support.answered import answered_frame
from support.background import Background
from support.builders import box


class Feeding(Background):
    """Shows a source ten pictures a second."""

    def __init__(self, pages: PreviewPages, name: str) -> None:
        super().__init__("feeding")
        self._preview = pages.previews[name]

    def work(self) -> None:
        number = 0
        while not self.stopping.wait(0.1):
            region = box("cat", 10, 10, 40, 40)
            self._preview.show(images.jpeg(), answered_frame(number, 100 * number, region))
            number += 1


@contextmanager
def previews(*names: str) -> Iterator[tuple[PreviewPages, str]]:
    """Serve the previews of these sources, the first of which sees a cat; give the address."""
    pages = PreviewPages(names)
    door = HealthServer(
        host="127.0.0.1", port=0, registry=CollectorRegistry(), probes=Probes(), pages=pages
    )
    door.start()
    try:
        with Feeding(pages, names[0]):
            yield pages, f"http://127.0.0.1:{door.port}"
    finally:
        pages.close()
        door.close()
