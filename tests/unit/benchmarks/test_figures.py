import pytest

from benchmarks.figures import Outcome, Run, equal_count, percentile, summarise


def run(*latencies_s: float, tokens: tuple[int, ...] = (0, 5, 2), elapsed_s: float = 2.0) -> Run:
    outcomes = [Outcome(place, "OD", late, tokens) for place, late in enumerate(latencies_s)]
    return Run(tuple(outcomes), elapsed_s, rss_bytes=10, others_cores=0.1, busy_s=3.0)


@pytest.mark.parametrize(("part", "value"), [(0.5, 2), (0.75, 3), (0.95, 4), (0.99, 4), (0.0, 1)])
def test_percentile_is_a_measured_value(part: float, value: float) -> None:
    assert percentile([4, 1, 3, 2], part) == value


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_throughput_of_several_rounds_is_their_median() -> None:
    summary = summarise([run(1, 1), run(1, 1, elapsed_s=1.0), run(1, 1, elapsed_s=4.0)])
    assert summary["throughput"] == 1.0
    assert summary["throughputs"] == [1.0, 2.0, 0.5]
    assert summary["tokens_per_s"] == 3.0


def test_a_failed_request_counts_neither_as_answered_nor_as_equal() -> None:
    good = run(1.0, 2.0)
    failed = Run((good.outcomes[0], Outcome(1, "OD", 0.1, (), "broke")), 2.0, 10, 0.0, 3.0)
    summary = summarise([failed])
    assert failed.throughput == 0.5
    assert summary["fault_count"] == 1
    assert summary["faults"] == ["broke"]
    assert summary["latency_s"]["p99"] == 1.0
    assert summary["busy_s_each"] == 3.0
    assert equal_count(failed, good) == 1


def test_answers_are_equal_by_their_tokens() -> None:
    assert equal_count(run(1, 1), run(3, 3)) == 2
    assert equal_count(run(1, 1, tokens=(0, 6, 2)), run(1, 1)) == 0


def test_run_where_all_failed_has_no_latency() -> None:
    summary = summarise([Run((Outcome(0, "OD", 0.1, (), "broke"),), 2.0, 10, 0.0, 1.0)])
    assert summary["throughput"] == 0.0
    assert summary["busy_s_each"] is None
    assert summary["latency_s"] == {}
