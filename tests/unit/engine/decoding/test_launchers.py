"""Steps in a few shapes, each recorded once."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from arno.engine.decoding.launchers import EagerLauncher, GraphLauncher, StepShape  # noqa: E402

MOST = StepShape(12, 200, 1000)
SHAPE, OTHER = StepShape(2, 64, 640), StepShape(4, 64, 640)

shapes = st.builds(StepShape, st.integers(1, 12), st.integers(1, 200), st.integers(1, 1000))


@given(shapes)
def test_a_rounded_shape_holds_the_step_and_keeps_the_limits(shape):
    rounded = shape.rounded(MOST)
    assert shape.count <= rounded.count <= 12
    assert shape.longest <= rounded.longest <= 200
    assert shape.encoded <= rounded.encoded <= 1000
    assert rounded.rounded(MOST) == rounded


def test_shapes_are_few():
    every = {
        StepShape(count, longest, 600).rounded(MOST)
        for count in range(1, 13)
        for longest in range(1, 201)
    }
    assert len(every) == 5 * 3


class Graph:
    """Stands for a CUDA graph: counts what is done with it."""

    def __init__(self) -> None:
        self.captured = self.replayed = 0

    def replay(self) -> None:
        self.replayed += 1

    def pool(self) -> str:
        return "shared"


@contextmanager
def capture(graph, pool, capture_error_mode):
    assert capture_error_mode == "thread_local", "other threads pin memory meanwhile"
    graph.captured += 1
    graph.memory = pool
    yield


def test_a_shape_runs_once_by_itself_is_then_recorded_and_from_then_on_replayed():
    graphs, ran = [], []

    def make() -> Graph:
        graphs.append(Graph())
        return graphs[-1]

    def body(shape: StepShape) -> torch.Tensor:
        ran.append(shape)
        return torch.tensor([shape.count])

    recorded = GraphLauncher(make, capture)
    results = [recorded.run(shape, body) for shape in (SHAPE, OTHER, SHAPE, SHAPE, SHAPE)]
    assert ran == [SHAPE, OTHER, SHAPE], "the last of them while it is recorded"
    (graph,) = graphs
    assert (graph.captured, graph.replayed) == (1, 3)
    assert [int(result) for result in results] == [2, 4, 2, 2, 2]
    assert results[3] is results[4], "a recording's result stays where it is"


def test_a_shape_that_cannot_be_recorded_runs_by_itself_from_then_on():
    graphs, ran = [], []

    @contextmanager
    def broken(graph, pool, capture_error_mode):
        graphs.append(graph)
        yield
        raise RuntimeError("operation not permitted when stream is capturing")

    def body(shape: StepShape) -> torch.Tensor:
        ran.append(shape)
        return torch.tensor([shape.count])

    launcher = GraphLauncher(Graph, broken)
    results = [launcher.run(SHAPE, body) for _ in range(4)]
    assert len(graphs) == 1, "tried once"
    assert graphs[0].replayed == 0
    assert [int(result) for result in results] == [2] * 4
    assert ran == [SHAPE] * 5, "each step, and the recording that failed"


def test_recordings_share_the_memory_of_the_first():
    graphs = []

    def make() -> Graph:
        graphs.append(Graph())
        return graphs[-1]

    recorded = GraphLauncher(make, capture)
    for shape in (SHAPE, SHAPE, OTHER, OTHER):
        recorded.run(shape, lambda _: torch.zeros(1))
    assert [graph.memory for graph in graphs] == [None, "shared"]


def test_what_is_forgotten_is_recorded_again_in_memory_of_its_own():
    graphs = []

    def make() -> Graph:
        graphs.append(Graph())
        return graphs[-1]

    recorded = GraphLauncher(make, capture)
    for _ in range(3):
        recorded.run(SHAPE, lambda _: torch.zeros(1))
    recorded.forget()
    results = [recorded.run(SHAPE, lambda _, n=n: torch.tensor([n])) for n in range(2)]
    assert [int(result) for result in results] == [0, 1], "by itself, then while it is recorded"
    assert [graph.memory for graph in graphs] == [None, None]
    assert graphs[0].replayed == 2


def test_nothing_is_recorded_where_kernels_are_launched_as_they_come():
    ran = []
    for _ in range(3):
        EagerLauncher().run(SHAPE, lambda shape: ran.append(shape) or torch.zeros(1))
    assert ran == [SHAPE] * 3
