"""A run over a source: every image once and in order, whatever happens."""

from __future__ import annotations

import json
import tarfile
from types import MappingProxyType

import pytest
from arno.bulk import open_source
from arno.data_engine.annotation import FAILURES_FILE, RunOptions, Sources, annotate
from arno.data_engine.annotators.annotator import FunctionAnnotator
from arno.data_engine.selection import split
from arno.dataset import Dataset
from arno.dataset.shards import ShardFormat
from arno.errors import ArnoError, ConfigurationError
from PIL import Image

OPTIONS = RunOptions(form=ShardFormat.JSONL, shard_records=4, window=3)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for at in range(10):
        path = folder / f"{at % 2}" / f"{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (10 + at, 8)).save(path)
    return folder


def find(image):
    return [{"box": (0, 0, 5, 5), "kind": "category", "text": str(image.width)}]


def mine(function=find, name="mine"):
    return FunctionAnnotator(function, name=name)


def run(source, out, *annotators, **options):
    chosen = RunOptions(form=ShardFormat.JSONL, shard_records=4, window=3, **options)
    return annotate(Sources(open_source(str(source))), annotators or [mine()], out, chosen)


def test_every_image_is_annotated_once_by_every_annotator(tmp_path, photos):
    counts = run(photos, tmp_path / "out", mine(), mine(name="other"))
    records = list(Dataset(tmp_path / "out"))
    assert [one.image_id for one in records] == [
        f"{at % 2}/{at}.png" for at in (*range(0, 10, 2), *range(1, 10, 2))
    ]
    assert [one.position for one in records] == list(range(10))
    assert all(one.regions[0].text == str(one.width_px) for one in records)
    names = [[region.provenance.annotator for region in one.regions] for one in records]
    assert names == [["mine", "other"]] * 10
    assert (counts["images"], counts["failures"]) == (10, 0)
    found = Dataset(tmp_path / "out")
    assert found.image_path(records[0]).samefile(photos / "0" / "0.png")


class Reversed:
    """Gives work back in the opposite order, as a gateway may."""

    name = "reversed"
    identity = MappingProxyType({})

    def annotate(self, works):
        yield from reversed(list(works))


def test_annotator_may_give_work_back_in_any_order(tmp_path, photos):
    run(photos, tmp_path / "out", Reversed(), mine())
    assert [one.position for one in Dataset(tmp_path / "out")] == list(range(10))


def test_window_bounds_what_is_under_way(tmp_path, photos):
    held = []

    class Counting(Reversed):
        def annotate(self, works):
            works = list(works)
            held.append(len(works))
            yield from works

    run(photos, tmp_path / "out", Counting())
    assert held == [3, 3, 3, 1]


def test_run_that_was_killed_goes_on_behind_its_last_record(tmp_path, photos):
    seen = []

    def dying(image):
        seen.append(image.width)
        if len(seen) == 6:
            raise KeyboardInterrupt
        return find(image)

    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "out", mine(dying))
    run(photos, tmp_path / "out", mine(dying))
    assert [one.position for one in Dataset(tmp_path / "out")] == list(range(10))
    # The sixth image was not finished; all others were seen once.
    assert len(seen) == 11


def test_broken_image_and_failing_annotator_are_counted_and_stop_nothing(tmp_path, photos):
    (photos / "0" / "4.png").write_bytes(b"broken")
    calls = []

    def half(image):
        calls.append(image.width)
        if image.width % 4 == 0:
            raise RuntimeError("not today")
        return find(image)

    counts = run(photos, tmp_path / "out", mine(), mine(half, "half"))
    lines = list(map(json.loads, (tmp_path / "out" / FAILURES_FILE).read_text().splitlines()))
    broken = [line["annotator"] for line in lines if line["image_id"] == "0/4.png"]
    assert broken == ["mine", "half"]
    failed = {line["image_id"] for line in lines} - {"0/4.png"}
    assert failed == {"0/2.png", "0/6.png"}
    assert counts["failures"] == len(lines) == 4
    assert [one.position for one in Dataset(tmp_path / "out")] == [0, 1, 3, 4, 5, 6, 7, 8, 9]


def test_failures_are_not_doubled_by_going_on(tmp_path, photos):
    (photos / "0" / "0.png").write_bytes(b"broken")

    def dying(image):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "out", mine(dying))
    run(photos, tmp_path / "out")
    assert len((tmp_path / "out" / FAILURES_FILE).read_text().splitlines()) == 1


def test_run_stops_above_the_number_of_failures(tmp_path, photos):
    def fail(image):
        raise RuntimeError

    with pytest.raises(ArnoError, match=r"more than 2 failures; see .*failures.jsonl"):
        run(photos, tmp_path / "out", mine(fail), failures_max=2)


def test_name_that_is_listed_twice_in_a_window_is_annotated_once(tmp_path, photos):
    listed = tmp_path / "list.txt"
    listed.write_text("photos/0/0.png\nphotos/0/0.png\nphotos/1/1.png\n")
    run(listed, tmp_path / "out")
    assert [one.image_id for one in Dataset(tmp_path / "out")] == [
        "photos/0/0.png",
        "photos/1/1.png",
    ]


def test_images_of_a_shard_are_kept_beside_the_data_set(tmp_path, photos):
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        archive.add(photos / "0" / "0.png", "a/0.png")
    run(tmp_path / "s.tar", tmp_path / "out")
    found = Dataset(tmp_path / "out")
    assert found.image_path(found[0]).read_bytes() == (photos / "0" / "0.png").read_bytes()


def test_data_set_is_annotated_again_and_keeps_what_it_has(tmp_path, photos):
    run(photos, tmp_path / "first")
    source = Sources(Dataset(tmp_path / "first"))
    annotate(source, [mine(name="second")], tmp_path / "out", OPTIONS)
    record = Dataset(tmp_path / "out")[3]
    assert [one.provenance.annotator for one in record.regions] == ["mine", "second"]
    assert record.position == 3


def test_progress_over_a_part_of_a_data_set_counts_its_own_images(tmp_path, photos):
    run(photos, tmp_path / "first")
    split(Dataset(tmp_path / "first"), tmp_path / "parts", parts={"a": 0.5, "b": 0.5}, seed=0)
    part = Dataset(tmp_path / "parts" / "b")
    assert 0 < len(part) <= part[len(part) - 1].position
    shown = []

    def dying(image):
        if len(shown) == 2:
            raise KeyboardInterrupt
        return find(image)

    def note(done, total):
        shown.append((done, total))

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        annotate(Sources(part), [mine(dying, "second")], out, OPTIONS, on_progress=note)
    annotate(Sources(part), [mine(name="second")], out, OPTIONS, on_progress=note)
    assert shown == [(done, len(part)) for done in range(1, len(part) + 1)]


def test_other_annotators_in_the_same_folder_are_refused(tmp_path, photos):
    run(photos, tmp_path / "out")
    with pytest.raises(ConfigurationError, match="made in another way"):
        run(photos, tmp_path / "out", mine(name="other"))
    with pytest.raises(ConfigurationError, match="names of their own"):
        run(photos, tmp_path / "x", mine(), mine())
