"""The table of a hostile tenant's attacks says what the other tenant felt."""

from __future__ import annotations

from benchmarks.attacks import ATTACKS
from benchmarks.tables import hostile

_MACHINE = {
    "measured_at": "2026-01-02T03:04:05+00:00",
    "commit": "abc",
    "load_average": [0.1, 0.2, 0.3],
    "processor": "P",
    "core_count": 2,
    "device": "cpu",
}


def test_table_has_a_row_an_attack_with_the_ratio_and_what_the_attacker_was_told() -> None:
    run = {
        "slots": 16,
        "alone": {
            "latency_s": {"p50": 0.08, "p95": 0.1},
            "stages_p95_s": {"queue": 0.011, "engine": 0.061},
            "codes": {"OK": 9},
        },
        "attacked": {
            "latency_s": {"p50": 0.09, "p95": 0.12},
            "stages_p95_s": {"queue": 0.012, "engine": 0.062},
            "codes": {"OK": 8, "UNAVAILABLE": 1},
            "busy_cores": {
                "gateway": 0.5,
                "worker": 0.25,
                "redis": 0.125,
                "kafka": 1.0,
                "client": 0.03,
            },
        },
        "p95_ratio": 1.2,
        "attacker_codes": {"RESOURCE_EXHAUSTED": 7, "OK": 2},
        "load_averages": [1.0, 2.5],
    }
    runs = [{**run, "attack": name} for name in ATTACKS]
    text = hostile({"machine": _MACHINE, "budget": {"p95_ratio": 1.5}, "runs": runs})
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(ATTACKS)
    assert lines[2] == (
        "| floods | 16 | 80.0 | 90.0 | 100 | 120 | 1.20 | 11.0, 61.0 | 12.0, 62.0 "
        "| 1 of 9 | OK 2, RESOURCE_EXHAUSTED 7 | -, -, -, -, -, - "
        "| 0.50, 0.25, 0.12, 1.00, 0.03, - | 2.50 |"
    )
    assert "below 1.5" in text
