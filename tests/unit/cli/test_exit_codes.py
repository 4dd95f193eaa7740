import errno
import io
import json
import sys

import pytest
from arno.cli import checks
from arno.cli import main as cli
from arno.errors import ArnoError


@pytest.fixture
def arno(monkeypatch, capsys):
    """Run the command in this process; return its exit code and what it wrote to stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["arno", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["infer", "x.png", "--task", "CAPTOIN"], "did you mean CAPTION?"),
        (["infer", "x.png", "--region", "1,2", "--task", "REGION_TO_OCR"], "four numbers"),
        (["infer", "x.png", "--task", "REGION_TO_OCR"], "REGION_TO_OCR asks about one region"),
        (["infer", "x.png", "--task", "OD", "--text", "a cat"], "none of the tasks takes it: OD"),
        (["infer", "x.png", "--task", "OCR@OD"], "no earlier --task OD"),
        (["infer", "x.png", "y.png", "--draw", "seen.png"], "name a folder, there are 2 images"),
        (["infer", "{tmp}"], "IMAGE: holds no pictures"),
        (["infer"], "Missing argument 'IMAGE..'"),
        (["infer", "x.png", "--beams", "9"], "9 is not in the range 1<=x<=8"),
        (["infer", "x.png", "--draw", "seen.tga"], "name a folder, or a file of .bmp"),
        (["infer", "x.png", "--draw", "{tmp}/file/a/x.png"], "file/a/x.png: Not a directory"),
        (["stream", "x.mp4", "--policy", "every"], "every=N"),
        (["stream", "x.mp4", "--policy", "newest"], "must be all, latest, adaptive or every=N"),
        (["stream", "x.mp4", "--preview", "here"], "--preview here: must be PORT or HOST:PORT"),
        (["stream", "x.mp4", "--line", "a=1,2,1,2"], "--line: the line begins where it ends"),
        (["stream", "x.mp4", "--line", "a=1,2,3,4", "--line", "a=5,6,7,8"], "a is named already"),
        (["stream", "absent.mp4"], "source: no such file; sent: absent.mp4"),
        (["up", "--bus", "kafka", "--data", "{tmp}"], "--kafka-bootstrap HOST:PORT"),
        (["gateway", "--window", "many"], "--window"),
        (["worker", "--lanes", "fast"], "--lanes"),
        (["infer", "x.png", "--address", "http://h:1"], "address: must be HOST:PORT"),
        (["infer", "x.png", "--tls-ca", "{tmp}/file"], "file: not the PEM file that belongs here"),
        (["infer", "x.png", "--timeout", "nan"], "'nan' is not a finite number"),
        (["stream", "x.mp4", "--fps", "inf"], "'inf' is not a finite number"),
        (["stream", "{tmp}/file", "--out", "{tmp}/file"], "file: is the source"),
        (["keys", "create", "a", "--keys-file", "{tmp}/k", "--days", "1e9"], "0<x<=36500"),
        (["model", "verify", "tiny", "--device", "gpu"], "device: String should match pattern"),
        (["fly"], "No such command 'fly'"),
        (["infre", "x.png"], "Did you mean infer?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_a_sentence_and_exit_code_two(arno, tmp_path, words, sentence):
    (tmp_path / "file").touch()
    code, said = arno(*(word.replace("{tmp}", str(tmp_path)) for word in words))
    assert code == 2
    assert sentence in said
    assert "Traceback" not in said


def test_image_that_cannot_be_read_is_a_failure(arno, tmp_path):
    code, said = arno("infer", tmp_path / "absent.png", "--address", "127.0.0.1:9")
    assert code == 1
    assert said.count("absent.png") == 1
    assert "absent.png: cannot read the file" in said


def test_name_that_is_no_utf8_is_printed_as_json(tmp_path, monkeypatch):
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    monkeypatch.setattr(sys, "stdout", printed)
    monkeypatch.setattr(sys, "argv", ["arno", "infer", str(tmp_path / "caf\udce9.png"), "--json"])
    with pytest.raises(SystemExit):
        cli.main()
    printed.seek(0)
    assert json.loads(printed.read())["file"] == str(tmp_path / "caf\udce9.png")


def test_file_that_cannot_be_written_is_a_sentence(arno, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    (tmp_path / "file").touch()
    code, said = arno("demo", tmp_path / "images", "--out", tmp_path / "file" / "out")
    assert code == 1
    assert said.strip() == f"error: {tmp_path / 'file' / 'out'}: Not a directory"


def test_full_disk_is_a_sentence(arno, monkeypatch):
    def fill(*words, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cli.root, "main", fill)
    assert arno("train") == (1, "error: No space left on device\n")


def test_up_refuses_a_setting_of_its_children_before_anything_starts(arno, monkeypatch, tmp_path):
    monkeypatch.setenv("ARNO_IMAGE_PIXELS_MAX", "many")
    monkeypatch.setenv("ARNO_PREPARE_THREAD", "2")
    code, said = arno("up", "--port", "0", "--data", tmp_path / "data", "--model", "null")
    assert code == 2
    assert "--image-pixels-max (ARNO_IMAGE_PIXELS_MAX)" in said
    assert "ARNO_PREPARE_THREAD: unknown; did you mean ARNO_PREPARE_THREADS?" in said
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["lock"]


def test_debug_shows_the_traceback_wherever_it_stands(arno):
    code, said = arno("infer", "x.png", "--task", "CAPTOIN", "--debug")
    assert code == 2
    assert "Traceback" in said


def test_missing_extra_is_one_sentence_with_the_command_that_mends_it(arno, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    code, said = arno("stream", "x.mp4")
    assert code == 1
    assert "pip install 'arno[ingest]'" in said


def test_up_names_all_that_is_missing_before_anything_starts(arno, monkeypatch, tmp_path):
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: None)
    code, said = arno("up", "--port", "0", "--data", tmp_path / "data", "--bus", "redis")
    assert code == 1
    assert "`arno up` needs grpc_reflection" in said
    assert "torch" in said
    assert "pip install 'arno[all]'" in said
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["lock"]


def test_module_missing_at_the_import_of_a_verb_names_the_extra(arno, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError("No module named 'redis'", name="redis")

    monkeypatch.setattr(cli.importlib, "import_module", absent)
    code, said = arno("gateway")
    assert code == 1
    assert "`arno gateway` needs redis" in said
    assert "pip install 'arno[gateway]'" in said


@pytest.mark.parametrize("verb", ["topics", "dead"])
def test_verb_of_the_bus_names_the_extra_of_the_bus(arno, monkeypatch, verb):
    def absent(name):
        raise ModuleNotFoundError("No module named 'kafka'", name="kafka")

    monkeypatch.setattr(cli.importlib, "import_module", absent)
    assert "pip install 'arno[server]'" in arno(verb)[1]


def test_unknown_error_of_the_server_is_a_failure():
    assert cli.exit_code(ArnoError("x")) == 1
