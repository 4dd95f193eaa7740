import pytest
from arno.engine.checkpoints.folders import find_model, fingerprint, require_whole
from arno.errors import ModelError


def test_a_folder_is_found_by_its_path(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert find_model(str(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-such-folder", "there is no folder"),
        ("./no/such", "there is no folder"),
        ("someone/some-model-nobody-has", "hf download someone/some-model-nobody-has"),
    ],
)
def test_a_model_that_is_not_here_is_named_and_nothing_is_downloaded(name, words):
    with pytest.raises(ModelError, match=words):
        find_model(name)


def test_a_folder_without_a_configuration_is_no_model(tmp_path):
    with pytest.raises(ModelError, match="no config"):
        find_model(str(tmp_path))


def test_the_fingerprint_changes_with_every_file_that_decides_an_answer(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    seen = {fingerprint(tmp_path)}
    for name in ("model.safetensors", "tokenizer.json", "preprocessor_config.json"):
        (tmp_path / name).write_text("a")
        seen.add(fingerprint(tmp_path))
        (tmp_path / name).write_text("b")
        seen.add(fingerprint(tmp_path))
    assert len(seen) == 7


def test_the_fingerprint_ignores_notes_and_generation_configs(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = fingerprint(tmp_path)
    (tmp_path / "README.md").write_text("notes")
    (tmp_path / "generation_config.json").write_text("{}")
    assert fingerprint(tmp_path) == before


def test_moving_bytes_from_one_file_to_another_changes_the_fingerprint(tmp_path):
    (tmp_path / "config.json").write_text("ab")
    (tmp_path / "vocab.json").write_text("c")
    before = fingerprint(tmp_path)
    (tmp_path / "config.json").write_text("a")
    (tmp_path / "vocab.json").write_text("bc")
    assert fingerprint(tmp_path) != before


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: content[:7],
        lambda _: b"",
        lambda _: (2).to_bytes(8, "little") + b"[]",
        lambda _: (2**63).to_bytes(8, "little") + b"{}",
    ],
    ids=["cut short", "too long", "no header", "empty", "no tensors", "endless header"],
)
def test_weights_that_are_cut_short_are_found_without_reading_them(tmp_path, harm):
    file = tmp_path / "model.safetensors"
    whole = (find_model("tiny") / file.name).read_bytes()
    file.write_bytes(whole)
    require_whole(tmp_path)
    file.write_bytes(harm(whole))
    with pytest.raises(ModelError, match=r"model\.safetensors is cut short or no safetensors file"):
        require_whole(tmp_path)
