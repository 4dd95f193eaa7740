import asyncio
import threading
from pathlib import Path

import pytest
from arno.client import AsyncClient, Client
from arno.client.many import ManyOptions, ask_many, ask_many_async
from arno.errors import InvalidFieldError, InvalidImageError
from support.results import cat_and_dog, result_of

BROKEN = InvalidImageError(field="image", problem="broken")


def ask(image):
    if image == b"broken":
        raise BROKEN
    return result_of(cat_and_dog(), source=image)


def test_outcomes_come_in_the_order_of_the_images_and_a_broken_one_stops_no_other():
    images = ["a.png", b"broken", "c.png"]
    outcomes = list(ask_many(images, ask, ManyOptions(in_flight_max=2)))
    assert [(one.index, one.image) for one in outcomes] == [*enumerate(images)]
    assert [one.ok for one in outcomes] == [True, False, True]
    assert outcomes[1].error is BROKEN
    with pytest.raises(InvalidImageError):
        outcomes[1].result  # noqa: B018 - it raises


def test_slow_image_holds_up_no_other_without_order():
    go_on = threading.Event()

    def slow_first(image):
        if image == "0":
            go_on.wait(30)
        return ask(image)

    images = map(str, range(20))
    outcomes = ask_many(images, slow_first, ManyOptions(in_flight_max=2, ordered=False))
    seen = [next(outcomes).index for _ in range(10)]
    assert 0 not in seen
    go_on.set()
    assert sorted([*seen, *(one.index for one in outcomes)]) == list(range(20))


def test_images_are_read_only_as_they_are_needed():
    taken = []
    outcomes = ask_many(
        (taken.append(number) or str(number) for number in range(10**9)),
        ask,
        ManyOptions(in_flight_max=2, ordered=False),
    )
    next(outcomes)
    outcomes.close()
    assert len(taken) <= 3


def test_no_more_images_are_under_way_than_may():
    lock, under_way, most = threading.Lock(), [], []

    def watched(image):
        with lock:
            under_way.append(image)
            most.append(len(under_way))
        result = ask(image)
        with lock:
            under_way.remove(image)
        return result

    list(ask_many(map(str, range(50)), watched, ManyOptions(in_flight_max=3)))
    assert max(most) <= 3


def test_results_keep_paths_and_no_images_in_memory():
    path, held = ask_many(["a.png", b"bytes"], ask, ManyOptions())
    assert path.result.source == "a.png"
    assert held.result.source is None
    assert held.image == b"bytes"


def test_exception_of_the_images_comes_out():
    def images():
        yield "a.png"
        raise RuntimeError("the disk fell down")

    with pytest.raises(RuntimeError, match="the disk fell down"):
        list(ask_many(images(), ask, ManyOptions()))


def test_progress_is_shown_on_standard_error(capsys):
    list(ask_many(["a.png"] * 3, ask, ManyOptions(progress=True)))
    shown = capsys.readouterr()
    assert "100%" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("ordered", [True, False])
async def test_asyncio_keeps_the_same_rules(ordered):
    under_way = most = 0

    async def ask_slowly(image):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return ask(image)

    async def images():
        for number in range(30):
            yield b"broken" if number == 7 else f"{number}.png"

    options = ManyOptions(in_flight_max=4, ordered=ordered)
    outcomes = [one async for one in ask_many_async(images(), ask_slowly, options)]
    numbers = [one.index for one in outcomes]
    assert sorted(numbers) == list(range(30))
    assert not ordered or numbers == sorted(numbers)
    assert [one.index for one in outcomes if not one.ok] == [7]
    assert most <= 4


async def test_asyncio_gives_up_what_is_under_way_when_the_loop_is_left():
    cancelled = []

    async def ask_for_ever(image):
        if image == "0":
            return ask(image)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(image)
            raise

    outcomes = ask_many_async(map(str, range(9)), ask_for_ever, ManyOptions(in_flight_max=3))
    assert (await anext(outcomes)).index == 0
    await outcomes.aclose()
    await asyncio.sleep(0)
    assert cancelled


async def test_tasks_are_refused_before_any_image_is_read():
    def images():
        raise AssertionError("was read")
        yield

    with Client("127.0.0.1:9") as client, pytest.raises(InvalidFieldError, match="task"):
        client.infer_many(images(), "NONE")
    async with AsyncClient("127.0.0.1:9") as client:
        with pytest.raises(InvalidFieldError, match="at least one task"):
            client.infer_many(images())


@pytest.mark.parametrize(
    "one", ["photo.jpg", Path("photo.jpg"), b"a"], ids=["name", "path", "bytes"]
)
def test_one_image_in_place_of_many_is_refused(one):
    with Client("127.0.0.1:9") as client, pytest.raises(InvalidFieldError, match="several images"):
        client.infer_many(one, "OD")


def test_path_of_a_video_in_place_of_frames_is_refused():
    with (
        Client("127.0.0.1:9") as client,
        pytest.raises(InvalidFieldError, match=r"frames: .*`arno stream` reads videos; sent: str"),
    ):
        next(client.infer_stream("street.mp4", "OD"))
