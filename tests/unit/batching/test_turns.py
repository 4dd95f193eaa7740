"""Turns that cannot be interrupted: no tenant starves, none exceeds its share, nothing is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from arno.batching import Room, Turns
from arno.batching.reserve import KEPT_SLOT_S
from hypothesis import given
from hypothesis import strategies as st


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    tenant: str
    number: int
    cost: float = 1.0
    size: float = 0.0

    @property
    def rank(self) -> tuple[float, int]:
        return 0.0, self.number


def add_all(turns: Turns[Piece], pieces: Sequence[Piece]) -> None:
    for piece in pieces:
        turns.add(piece)


def take_all(turns: Turns[Piece]) -> list[Piece]:
    """Take whatever may start now."""
    taken = []
    while (piece := turns.take()) is not None:
        taken.append(piece)
    return taken


def in_turn(turns: Turns[Piece]) -> list[Piece]:
    """Run everything, one piece after the other."""
    order = []
    while (piece := turns.take()) is not None:
        order.append(piece)
        turns.end(piece, piece.cost)
    return order


def test_turn_goes_to_the_tenant_that_was_charged_least() -> None:
    turns: Turns[Piece] = Turns(Room(1))
    add_all(turns, [Piece("a", n, cost=3.0) for n in range(4)])
    add_all(turns, [Piece("b", 10 + n, cost=1.0) for n in range(12)])
    names = [piece.tenant for piece in in_turn(turns)]
    assert Counter(names[:8]) == {"a": 2, "b": 6}


def test_what_work_really_cost_is_charged_when_it_ends() -> None:
    turns: Turns[Piece] = Turns(Room(1))
    add_all(turns, [Piece(name, 10 * i + n) for i, name in enumerate("ab") for n in range(5)])
    first = turns.take()
    assert first is not None
    turns.end(first, 3.5)
    names = [piece.tenant for piece in in_turn(turns)]
    assert names[:4] == ["b", "b", "b", "b"]


def test_small_work_does_not_overtake_the_large_one_whose_turn_it_is() -> None:
    turns: Turns[Piece] = Turns(Room(3, size_max=10))
    running = Piece("a", 0, size=6)
    turns.add(running)
    assert turns.take() is running
    large = Piece("b", 1, size=9)
    add_all(turns, [large, Piece("a", 2, size=1)])
    assert turns.take() is None
    turns.end(running, 1.0)
    assert turns.take() is large


def test_tenant_at_its_share_does_not_hold_up_another() -> None:
    turns: Turns[Piece] = Turns(Room(4, tenant_share=0.5))
    add_all(turns, [Piece("a", n) for n in range(9)])
    assert [piece.number for piece in take_all(turns)] == [0, 1]
    turns.add(Piece("b", 20))
    assert [piece.tenant for piece in take_all(turns)] == ["b"]


ROOMS = st.builds(
    Room,
    count_max=st.integers(1, 6),
    size_max=st.sampled_from([5.0, 20.0, float("inf")]),
    tenant_share=st.sampled_from([0.25, 0.5, 1.0]),
)
LOADS = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0.1, 5), st.floats(0, 12)), max_size=40
)


@given(ROOMS, LOADS, st.data())
def test_everything_runs_once_within_the_room_and_each_tenants_share(
    room: Room, load: list[tuple[str, float, float]], data: st.DataObject
) -> None:
    turns: Turns[Piece] = Turns(room)
    coming = [Piece(name, n, cost, size) for n, (name, cost, size) in enumerate(load)]
    running: list[Piece] = []
    started: list[int] = []
    while coming or running or len(turns):
        for _ in range(data.draw(st.integers(0, 3))):
            if coming:
                turns.add(coming.pop(0))
        taken = take_all(turns)
        running += taken
        started += [piece.number for piece in taken]
        check_bounds(room, running)
        assert running or not len(turns), "work waits, and nothing runs"
        if running:
            ended = running.pop(data.draw(st.integers(0, len(running) - 1)))
            turns.end(ended, data.draw(st.floats(0.05, 10)))
    assert sorted(started) == list(range(len(load)))


def check_bounds(room: Room, running: Sequence[Piece]) -> None:
    assert len(running) <= room.count_max
    assert len(running) <= 1 or sum(piece.size for piece in running) <= room.size_max + 1e-9
    for name in {piece.tenant for piece in running}:
        own = [piece for piece in running if piece.tenant == name]
        assert len(own) <= max(1, int(room.tenant_share * room.count_max))
        share = room.tenant_share * room.size_max
        assert len(own) == 1 or sum(piece.size for piece in own) <= share + 1e-9


@given(
    st.lists(st.floats(0.1, 5), min_size=1, max_size=30),
    st.lists(st.floats(0.1, 5), min_size=1, max_size=30),
    st.integers(1, 3),
)
def test_tenants_that_always_wait_differ_by_no_more_than_a_few_pieces_of_work(
    costs_of_a: list[float], costs_of_b: list[float], at_once: int
) -> None:
    turns: Turns[Piece] = Turns(Room(at_once))
    add_all(turns, [Piece("a", n, cost) for n, cost in enumerate(costs_of_a)])
    add_all(turns, [Piece("b", 100 + n, cost) for n, cost in enumerate(costs_of_b)])
    left, served = Counter(a=len(costs_of_a), b=len(costs_of_b)), Counter(a=0.0, b=0.0)
    bound = max(costs_of_a) + max(costs_of_b)  # Goyal, Vin and Cheng, theorem 1
    running: list[Piece] = []
    while min(left.values()):
        piece = turns.take()
        if piece is None:
            ended = running.pop(0)
            turns.end(ended, ended.cost)
            continue
        running.append(piece)
        served[piece.tenant] += piece.cost
        left[piece.tenant] -= 1
        assert abs(served["a"] - served["b"]) <= bound + 1e-6


@given(st.lists(st.floats(0.1, 5), min_size=2, max_size=30), st.integers(0, 20))
def test_work_of_an_idle_tenant_waits_for_one_piece_of_another_at_most(
    costs: list[float], after: int
) -> None:
    turns: Turns[Piece] = Turns(Room(1))
    add_all(turns, [Piece("flood", n, cost) for n, cost in enumerate(costs)])
    running = turns.take()
    for _ in range(min(after, len(costs) - 1)):
        assert running is not None
        turns.end(running, running.cost)
        running = turns.take()
    turns.add(Piece("people", 100))
    assert running is not None
    turns.end(running, running.cost)
    following = [turns.take()]
    while following[-1] is not None and following[-1].tenant == "flood":
        turns.end(following[-1], following[-1].cost)
        following.append(turns.take())
    assert len(following) <= 2


def test_tenant_leaves_free_what_another_needed_a_moment_ago() -> None:
    turns: Turns[Piece] = Turns(Room(2, reserve_share=0.5))
    turns.add(Piece("b", 0))
    first = turns.take(0.0)
    assert first is not None
    turns.end(first, 1.0)
    add_all(turns, [Piece("a", 1 + n) for n in range(3)])
    assert [turns.take(1.0) is not None for _ in range(2)] == [True, False]
    assert turns.take(1.0 + KEPT_SLOT_S) is not None


def test_tenant_that_is_alone_has_what_is_reserved() -> None:
    turns: Turns[Piece] = Turns(Room(2, reserve_share=0.5))
    add_all(turns, [Piece("a", n) for n in range(3)])
    assert len(take_all(turns)) == 2
