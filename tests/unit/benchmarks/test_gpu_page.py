from __future__ import annotations

from benchmarks.gpu_page import PAGE, read_figures, write_page


def test_the_page_is_what_the_figures_say():
    assert PAGE.read_text(encoding="utf-8") == write_page(read_figures())
