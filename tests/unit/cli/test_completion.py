import os
import shutil
import subprocess
import sys

import pytest
from arno.cli.main import root
from arno.vocabulary import Task
from click.shell_completion import ShellComplete
from click.testing import CliRunner


def completed(words, incomplete):
    complete = ShellComplete(root, {}, "arno", "_ARNO_COMPLETE")
    return [item.value for item in complete.get_completions(words, incomplete)]


def test_verbs_are_completed_without_being_imported():
    assert completed([], "bat") == ["batch"]
    assert "train" in completed([], "")
    code = (
        "import sys; from click.shell_completion import ShellComplete;"
        "from arno.cli.main import root;"
        "ShellComplete(root, {}, 'arno', '_X').get_completions([], '');"
        "print(sorted(name for name in sys.modules if name.startswith('arno.cli.')))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.strip() == "['arno.cli.main']"


def test_flags_of_a_verb_are_completed():
    assert "--in-flight" in completed(["batch"], "--in")
    assert "--debug" in completed([], "--de")


def test_names_of_tasks_are_completed_in_any_case_and_behind_an_at():
    assert completed(["infer", "--task"], "od") == ["OD"]
    assert completed(["batch", "--task"], "OCR_") == ["OCR_WITH_REGION"]
    assert completed(["infer", "--task"], "REGION_TO_OCR@re") == [
        f"REGION_TO_OCR@{task}" for task in Task if task.startswith("RE")
    ]
    assert "CAPTION" in completed(["export", "seen", "--task"], "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_of_a_shell_is_printed_and_valid(shell, tmp_path):
    said = CliRunner().invoke(root, ["completion", shell])
    assert said.exit_code == 0
    assert "_ARNO_COMPLETE" in said.output
    if shutil.which(shell):
        script = tmp_path / "arno"
        script.write_text(said.output)
        subprocess.run([shell, "-n", str(script)], check=True, timeout=60)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_a_verb(tmp_path):
    script = CliRunner().invoke(root, ["completion", "bash"]).output
    (tmp_path / "arno").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m arno.cli "$@"\n')
    (tmp_path / "arno").chmod(0o755)
    asked = (
        "COMP_WORDS=(arno bat); COMP_CWORD=1; _arno_completion arno bat arno; echo ${COMPREPLY[@]}"
    )
    said = subprocess.run(
        ["bash", "-c", f"{script}\n{asked}"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "batch" in said.stdout.split()
