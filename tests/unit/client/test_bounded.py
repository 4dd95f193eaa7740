"""A bounded number of calls at once, and patience with errors that pass."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from arno.client.bounded import as_they_end, patiently
from arno.errors import InvalidImageError, OverloadedError, UnavailableError


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_slow_item_holds_up_no_other(pool):
    go_on = threading.Event()

    def work(number):
        assert number or go_on.wait(20)
        return number

    ended = as_they_end(pool, 3, work, range(6))
    others = {next(ended) for _ in range(5)}
    go_on.set()
    assert (others, list(ended)) == ({1, 2, 3, 4, 5}, [0])


def test_items_are_read_as_there_is_a_place_for_them(pool):
    read = []
    ended = as_they_end(pool, 2, lambda number: number, (read.append(n) or n for n in range(100)))
    next(ended)
    assert len(read) <= 2
    assert len(list(ended)) == 99


def test_exception_of_the_work_comes_out(pool):
    with pytest.raises(ZeroDivisionError):
        list(as_they_end(pool, 2, lambda number: 1 / number, [1, 0, 2]))


def call_that_fails(*errors):
    left = list(errors)

    def call():
        if left:
            raise left.pop(0)
        return "answered"

    return call


def test_passing_errors_are_waited_for_as_long_as_they_say():
    waited = []
    call = call_that_fails(OverloadedError("full", retry_delay_s=0.5), UnavailableError("away"))
    answer = patiently(
        call,
        passing=(UnavailableError,),
        patience_s=60,
        pause=lambda error, delay_s: waited.append((error.message, delay_s)),
    )
    assert (answer, waited) == ("answered", [("full", 0.5), ("away", 1.0)])


@pytest.mark.parametrize(
    ("error", "patience_s"),
    [(UnavailableError("away"), 0), (InvalidImageError(field="image", problem="broken"), 60)],
)
def test_other_errors_and_those_that_last_come_out(error, patience_s):
    with pytest.raises(type(error)):
        patiently(
            call_that_fails(*[error] * 99),
            passing=(UnavailableError,),
            patience_s=patience_s,
            pause=lambda *_: None,
        )
