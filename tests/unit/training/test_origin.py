from arno.training.origin import source_commit


def test_commit_is_unknown_where_there_is_no_git(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert source_commit() is None
