import copy
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.plots import draw_plots
from benchmarks.report import load_results, page
from benchmarks.tables import (
    comparison,
    comparison_rows,
    figure,
    overhead,
    stages,
    starts,
    sweep,
    table,
)
from benchmarks.targets import target_rows

MACHINE = {
    "measured_at": "2026-01-02T03:04:05+00:00",
    "commit": "abc",
    "load_average": [0.1, 0.2, 0.3],
    "processor": "P",
    "core_count": 2,
    "device": "cpu",
}
ENGINE = {
    "throughput": 2.0,
    "throughputs": [2.0, 2.0],
    "latency_s": {"p50": 0.5, "p95": 1.25, "p99": 30.04},
    "equal_count": 7,
    "request_count": 8,
    "rss_bytes": 3 * 2**29,
    "others_cores": 0.0,
}
RESULT: dict[str, Any] = {
    "kind": "comparison",
    "name": "tiny-mix",
    "machine": MACHINE,
    "plan": {
        "model": "tiny",
        "workload": "mix",
        "engines": ["transformers", "vllm", "arno"],
        "num_beams": 3,
        "rate": 0.0,
        "concurrency": 16,
        "requests": 4,
    },
    "serving": {"dtype": "float32"},
    "mean_tokens": 26.4,
    "skipped": {"vllm": "vllm: vllm is not installed"},
    "engines": {"transformers": ENGINE, "arno": ENGINE | {"throughput": 15.0, "others_cores": 0.9}},
}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.5, "1234"),
        (99.95, "100.0"),
        (12.34, "12.3"),
        (1.234, "1.23"),
        (0.1234, "0.12"),
        (0.0123, "0.012"),
    ],
)
def test_figures_are_short(value: float, text: str) -> None:
    assert figure(value) == text


def test_table_is_markdown() -> None:
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_ratio_is_to_the_first_engine() -> None:
    rows = comparison_rows(RESULT)
    assert rows[0] == [
        "transformers",
        "2.00",
        "1.00",
        "0.50",
        "1.25",
        "30.0",
        "7 of 8",
        "1.5",
        "-",
        "0.0",
    ]
    timed = copy.deepcopy(RESULT)
    timed["engines"]["arno"]["busy_s_each"] = 0.25
    assert comparison_rows(timed)[1][8] == "0.25"
    assert rows[1][2] == "7.50"


def test_row_of_a_busy_machine_has_a_star() -> None:
    assert [row[0] for row in comparison_rows(RESULT)] == ["transformers", "arno *"]


def test_skipped_engine_is_named_with_the_reason() -> None:
    assert "Skipped: vllm: vllm is not installed" in comparison(RESULT)


def test_section_says_how_load_was_put() -> None:
    assert "saturation, 16 at once; 2 rounds of 4 requests" in comparison(RESULT)
    opened = copy.deepcopy(RESULT)
    opened["plan"] |= {"rate": 4.0, "steady": False}
    assert "arrivals at 4/s, Poisson" in comparison(opened)


def test_stage_without_a_floor_or_a_peer_shows_dashes() -> None:
    result = {
        "name": "tiny-stages",
        "model": "tiny",
        "dtype": "float32",
        "machine": MACHINE,
        "reach": {"flops_per_s": 1e11, "bytes_per_s": 2e10},
        "threads": 2,
        "others_cores": 0.0,
        "stages": {
            "prepare": {"took_s": 0.002},
            "step": {"took_s": 0.1, "floor_s": 0.05, "over_floor": 2.0, "transformers_s": 0.8},
        },
    }
    text = stages(result)
    assert "| prepare | 2.00 | - | - | - | - |" in text
    assert "| step | 100 | 50.0 | 2.0 | 800 | 8.0 |" in text
    assert "**Noisy.**" not in text
    assert "**Noisy.**" in stages(result | {"others_cores": 1.0})


def test_page_stands_without_any_result() -> None:
    assert "Nothing was measured yet." in page([], {})


def test_page_has_the_figures_of_the_bundled_model_beside_their_aims() -> None:
    lines = page([], {}).splitlines()
    (row,) = (line for line in lines if line.startswith("| held-out families | OD precision@0.5"))
    assert row.endswith("| >= 0.92 |")
    (row,) = (line for line in lines if "OD phantoms a scene" in line)
    assert row.endswith("| <= 0.02 |")


def test_page_shows_results_and_pictures() -> None:
    text = page([RESULT], {"a curve": "benchmarks/curve.png"})
    assert "### tiny-mix" in text
    assert "![a curve](benchmarks/curve.png)" in text


SWEPT: dict[str, Any] = {
    "kind": "sweep",
    "name": "tiny-concurrency",
    "machine": MACHINE,
    "plan": {"model": "tiny", "workload": "mix", "engines": ["static", "arno"], "num_beams": 3},
    "serving": {"dtype": "float32"},
    "skipped": {"static": "static: broke"},
    "points": [
        {"concurrency": at, "engines": {"arno": ENGINE | {"throughput": float(at)}}}
        for at in (1, 8)
    ],
}


def test_sweep_has_a_row_for_every_concurrency_and_no_skipped_engine() -> None:
    text = sweep(SWEPT)
    assert "| at once | arno /s | arno p50 s | arno p95 s |" in text
    assert "| 8 | 8.00 | 0.50 | 1.25 |" in text


def test_aims_are_ratios_of_what_was_measured_and_dashes_where_nothing_was() -> None:
    found = {row[0]: row[2] for row in target_rows({"tiny-mix": RESULT})}
    assert found["tiny, mix, over transformers one by one"] == "7.50x"
    assert found["tiny, mix, over the best peer"] == "-"
    assert found["base, one decode step, 4 requests x 3 beams, float32"] == "-"


def test_ceiling_is_an_engine_that_only_multiplies_with_all_cores() -> None:
    stages = {
        "encode, 1 images": {"took_s": 0.02, "floor_s": 0.015},
        "encode prompts, 1 requests": {"took_s": 0.01, "floor_s": 0.005},
    }
    alone = {"threads": 1, "machine": MACHINE, "stages": stages}
    found = {row[0]: row[3] for row in target_rows({"tiny-mix": RESULT, "tiny-stages": alone})}
    assert found["tiny, mix, over transformers one by one"] == "50.0x"
    assert found["tiny, mix, over the best peer"] == "-"
    assert found["tiny, three tasks an image, over three images"] == "2.00x"
    elsewhere = alone | {"machine": MACHINE | {"processor": "Q"}}
    found = {row[0]: row[3] for row in target_rows({"tiny-mix": RESULT, "tiny-stages": elsewhere})}
    assert found["tiny, mix, over transformers one by one"] == "-"


def test_plots_are_drawn_from_results(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drawn = draw_plots([RESULT, SWEPT], tmp_path)
    assert sorted(drawn.values()) == ["tiny-concurrency.png", "tiny-ratios.png"]
    assert all((tmp_path / name).stat().st_size > 0 for name in drawn.values())


def test_results_that_have_a_page_of_their_own_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "tiny-mix.json").write_text(json.dumps(RESULT))
    (tmp_path / "heads.json").write_text(json.dumps({"machine": MACHINE, "runs": []}))
    (tmp_path / "streams.json").write_text(json.dumps({"kind": "streams", "machine": MACHINE}))
    assert [result["name"] for result in load_results(tmp_path)] == ["tiny-mix"]


def test_instructions_of_the_processor_stand_beside_its_name() -> None:
    machine = MACHINE | {"instructions": "AVX2, AVX-VNNI"}
    assert "P with AVX2, AVX-VNNI, 2 cores" in comparison(RESULT | {"machine": machine})


def test_a_start_is_compared_with_that_of_the_first_mode() -> None:
    start = {"busy_s": 20.0, "took_s": 25.0, "rss_bytes": 2**30}
    modes = {"float32": start, "float32, compiled": start | {"busy_s": 25.0}}
    result = {
        "kind": "starts",
        "name": "base-starts",
        "model": "base",
        "machine": MACHINE,
        "rounds": 3,
        "others_cores": 0.5,
        "modes": modes,
    }
    assert "| float32, compiled * | 25.0 | 1.25 | 25.0 | 1.0 |" in starts(result)
    row = next(row for row in target_rows({"base-starts": result}) if "compiled start" in row[0])
    assert row[1:] == ["<= 1.3", "1.25x", "-"]


def test_the_best_mode_is_compared_with_the_best_of_the_others_that_were_measured() -> None:
    engines = {
        name: ENGINE | {"throughput": value}
        for name, value in {
            "transformers": 1.0,
            "static": 3.0,
            "arno": 8.0,
            "arno-compiled": 9.0,
            "arno-int8-compiled-384": 12.0,
        }.items()
    }
    compared = RESULT | {"engines": engines}
    found = target_rows({"tiny-mix": compared, "base-fastest": compared})
    rows = {row[0]: row[2] for row in found}
    assert rows["tiny, mix, over transformers one by one"] == "9.00x"
    assert rows["base, mix, the fastest mode, over transformers' default"] == "12.0x"
    assert rows["tiny, mix, over the best peer"] == "3.00x"


def test_jobs_a_second_are_bounded_by_the_processor_time_of_a_job() -> None:
    spent_ms = {"gateway": 2.0, "worker": 1.0, "redis": 0.5, "kafka": 0.25, "load": 0.25}
    run = {
        "rate": 0.0,
        "concurrency": 8,
        "jobs_per_s": 400.0,
        "latency_s": {"p50": 0.02, "p99": 0.1},
        "others_cores": 0.0,
        "cpu_ms_per_job": spent_ms,
    }
    result = {"name": "overhead", "kind": "overhead", "machine": MACHINE, "image_bytes": 100_000}
    result["runs"] = [run | {"jobs_per_s": 100.0}, run]
    text = overhead(result)
    assert "| 8 at once | 400 | 20.0 | 100 | 0.0 | 2.00 | 1.00 | 0.50 | 0.25 |" in text
    assert "2 cores carry 500 at most, and each further core 250 more" in text
    assert "gateway's loop is full at about 500 jobs a second" in text
    row = next(row for row in target_rows({"overhead": result}) if row[0].startswith("no model"))
    assert row[1:] == [">= 1000", "400", "500"]
