import io
import json
import tarfile

import pytest
from arno.bulk import Place, open_source
from arno.bulk.item import IMAGE_BYTES_MAX, bounded
from arno.errors import InvalidFieldError, InvalidImageError, LimitExceededError
from support.images import png
from support.videos import read_number, write_video


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for name in ("b.PNG", "a.jpg", "deep/er/c.webp", ".hidden/x.png", "notes.md"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def keys(source):
    return [item.key for item in source]


def shard(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_folder_is_walked_in_the_order_of_names_without_hidden_files(photos):
    source = open_source(str(photos))
    assert keys(source) == ["a.jpg", "b.PNG", "deep/er/c.webp"]
    assert source.count() == 3
    assert [item.open_image() for item in source] == [b"a.jpg", b"b.PNG", b"deep/er/c.webp"]


def test_folder_has_one_name_however_it_is_written(photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    assert open_source("photos/").name == open_source(str(photos)).name


def test_glob_keys_are_relative_to_what_holds_all_files(photos):
    source = open_source(str(photos / "**" / "*.*"))
    assert keys(source) == ["a.jpg", "b.PNG", "deep/er/c.webp"]
    assert source.count() == 3


def test_files_named_by_a_shell_are_taken_together(photos):
    assert keys(open_source(str(photos / "b.PNG"), str(photos / "a.jpg"))) == ["b.PNG", "a.jpg"]


def test_list_names_files_relative_to_itself(photos):
    (photos / "some.txt").write_text("# mine\n\ndeep/er/c.webp\n absent.png \n")
    source = open_source(str(photos / "some.txt"))
    present, absent = source
    assert (present.key, present.open_image()) == ("deep/er/c.webp", b"deep/er/c.webp")
    with pytest.raises(InvalidImageError, match=r"cannot read the file: No such file.*absent\.png"):
        absent.open_image()
    assert source.count() == 2


def test_json_lines_carry_an_id_and_other_fields(photos):
    lines = [{"image": "a.jpg", "id": 7, "label": "cat"}, {"image": "b.PNG"}]
    (photos / "lines.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    one, other = open_source(str(photos / "lines.jsonl"))
    assert (one.key, one.fields, one.open_image()) == ("7", {"id": 7, "label": "cat"}, b"a.jpg")
    assert (other.key, other.fields) == ("b.PNG", {})


CUT_EMOJI = '{"image": "a.jpg", "id": "a cat \\ud83d"}'
BOTTOMLESS = "[" * 100_000


@pytest.mark.parametrize("line", ["{", "[1]", '{"image": 3}', '{"id": "x"}', CUT_EMOJI, BOTTOMLESS])
def test_broken_line_of_json_is_an_item_that_says_what_is_wrong(tmp_path, line):
    path = tmp_path / "lines.jsonl"
    path.write_text(f'{{"image": "a.jpg"}}\n{line}\n')
    _, broken = open_source(str(path))
    assert broken.key == "lines.jsonl:2"
    with pytest.raises(InvalidFieldError, match=r"lines\.jsonl:2: "):
        broken.open_image()


SAMPLES = [
    ("./001.jpg", b"one"),
    ("./001.txt", "a cät".encode()),
    ("./001.json", b'{"width": 3}'),
    ("sub/002.seg.png", b"two"),
    ("sub/002.json", b"{broken"),
    ("003.txt", b"a text without an image"),
]


def test_shard_members_of_one_name_are_one_item(tmp_path):
    path = shard(tmp_path / "train-000.tar", SAMPLES)
    source = open_source(str(path))
    one, two = source
    assert (one.key, one.open_image()) == ("train-000.tar/001", b"one")
    assert one.fields == {"txt": "a cät", "json": {"width": 3}}
    assert (two.key, two.open_image()) == ("train-000.tar/sub/002", b"two")
    assert two.fields == {"json": "{broken"}
    assert source.count() == 2
    assert one.place == Place(path, one.place.offset, 3)


def test_compressed_shard_is_read_without_knowing_its_length(tmp_path):
    path = shard(tmp_path / "train.tar.gz", SAMPLES, "w:gz")
    source = open_source(str(path))
    assert [item.open_image() for item in source] == [b"one", b"two"]
    assert source.count() is None
    assert [item.place for item in source] == [None, None]


def test_image_above_the_limit_is_not_read(photos):
    one, *_ = bounded(open_source(str(photos)), 4)
    with pytest.raises(LimitExceededError, match="allowed: 4 bytes; sent: 5 bytes"):
        one.open_image()
    assert next(bounded(open_source(str(photos)), 5)).open_image() == b"a.jpg"
    with (photos / "a.jpg").open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(LimitExceededError, match=f"allowed: {IMAGE_BYTES_MAX} bytes; sent: 214"):
        next(iter(open_source(str(photos)))).open_image()


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_member_of_a_shard_above_the_limit_is_not_read(tmp_path, monkeypatch, mode):
    monkeypatch.setattr("arno.bulk.sources.archives.IMAGE_BYTES_MAX", 4)
    name = "x.tar" if mode == "w" else "x.tar.gz"
    source = open_source(
        str(shard(tmp_path / name, [("a.jpg", b"large"), ("b.jpg", b"fine")], mode))
    )
    one, other = bounded(source, 4)
    with pytest.raises(LimitExceededError, match="sent: 5 bytes"):
        one.open_image()
    assert other.open_image() == b"fine"


def test_range_and_glob_of_shards_are_read_one_after_the_other(tmp_path):
    for number in range(3):
        shard(tmp_path / f"s-{number:03d}.tar", [("x.png", bytes([number]))])
    expected = ["s-000.tar/x", "s-001.tar/x", "s-002.tar/x"]
    assert keys(open_source(str(tmp_path / "s-{000..002}.tar"))) == expected
    assert keys(open_source(str(tmp_path / "s-*.tar"))) == expected


def test_broken_shard_is_named(tmp_path):
    path = tmp_path / "broken.tar"
    path.write_bytes(b"no tar" * 200)
    with pytest.raises(InvalidFieldError, match=r"not a tar file.*broken\.tar"):
        list(open_source(str(path)))


def test_video_is_sampled(tmp_path):
    from PIL import Image

    path = write_video(tmp_path / "street.mp4", duration_s=2, rate=10)
    source = open_source(str(path), fps=2)
    frames = list(source)
    assert [frame.key for frame in frames] == [f"street.mp4#{n:06d}" for n in range(4)]
    assert [frame.fields["timestamp_ms"] for frame in frames] == [0, 500, 1000, 1500]
    pictures = [Image.open(io.BytesIO(frame.open_image())) for frame in frames]
    assert [read_number(picture) for picture in pictures] == [0, 5, 10, 15]
    assert source.count() == 4
    assert open_source(str(path)).count() is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("notes.md", "a file of no known kind"),
        ("s-{5..2}.tar", "a range that goes up"),
        ("s-{0..99999999}.tar", "not by too many"),
    ],
)
def test_source_that_is_none_is_refused_with_what_there_is(photos, name, problem):
    with pytest.raises(InvalidFieldError, match=rf"SOURCE: .*{problem}.*a folder, a glob"):
        open_source(str(photos / name))


@pytest.mark.parametrize(
    ("name", "problem"),
    [("absent.jpg", "no such file or folder"), ("absent/*.jpg", "no file has such a name")],
)
def test_source_that_is_missing_is_named_without_a_list_of_kinds(photos, name, problem):
    with pytest.raises(InvalidFieldError) as refused:
        open_source(str(photos / name))
    assert refused.value.message == f"SOURCE: {problem}; sent: {photos / name}"


def test_rate_is_refused_where_there_are_no_frames(photos):
    with pytest.raises(InvalidFieldError, match="--fps: only a video has frames; sent: 2"):
        open_source(str(photos), fps=2)


def test_files_of_different_kinds_are_refused(photos, tmp_path):
    (tmp_path / "a.tar").write_bytes(png())
    with pytest.raises(InvalidFieldError, match="several of different kinds"):
        open_source(str(photos / "a.jpg"), str(tmp_path / "a.tar"))
