import subprocess
import sys

import click
import pytest
from arno.cli.main import root
from click.testing import CliRunner

VERBS = root.list_commands(click.Context(root))


def commands(command=root, path=()):
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), name)
            yield from commands(found, (*path, name))


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_help_of_every_verb_explains_with_an_example(path):
    answer = CliRunner().invoke(root, [*path, "--help"])
    assert answer.exit_code == 0
    assert f"arno {' '.join(path)}".strip() in answer.output
    assert "Example" in answer.output or "Try it" in answer.output


@pytest.mark.parametrize("verb", [verb for _, verb in commands()], ids=lambda verb: verb.name)
def test_every_flag_says_what_it_is_for(verb):
    assert [o.name for o in verb.params if isinstance(o, click.Option) and not o.help] == []


def test_summaries_of_the_root_name_every_verb():
    output = CliRunner().invoke(root, ["--help"]).output
    assert all(f"  {verb} " in output for verb in VERBS)


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_help_lists_every_flag_once_under_a_heading(path):
    command = dict(commands())[path]
    context = click.Context(command, info_name="verb")
    flags = [flag for flag in command.get_params(context) if isinstance(flag, click.Option)]
    output = command.get_help(context)
    written = [
        line.split()[0].rstrip(",")
        for line in output.partition("Options:")[2].splitlines()
        if line.startswith("  -")
    ]
    assert sorted(written) == sorted(flag.opts[0] for flag in flags)


def test_flags_of_a_server_stand_under_the_heading_of_their_settings_its_own_first():
    output = CliRunner().invoke(root, ["worker", "--help"]).output
    headings = [line for line in output.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings[:3] == ["Options:", "Worker:", "Model:"]
    assert headings[-2:] == ["Metrics and probes:", "Logs:"]
    assert "--kafka-ca" in output.partition("Kafka:\n")[2].partition("\n\n")[0]


def test_groups_list_their_commands_with_whole_summaries():
    output = CliRunner().invoke(root, ["dataset", "--help"]).output
    assert "..." not in output.partition("Commands:")[2]


def loaded(program, *modules):
    """Return which of the modules a program imports, in a process of its own."""
    ask = f"import sys\n{program}\nprint('loaded', *({set(modules)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()[1:]


def test_help_needs_no_extra_and_loads_no_server():
    program = "from arno.cli.main import root\nroot(['--help'], standalone_mode=False)"
    assert loaded(program, "torch", "grpc", "kafka", "redis", "av", "PIL", "pydantic") == []


def test_client_verbs_load_no_server_and_no_model():
    program = "import arno, arno.cli.infer, arno.cli.job\narno.Client"
    assert loaded(program, "torch", "kafka", "redis", "av", "opentelemetry") == []


def test_gateway_verb_loads_no_model():
    program = "import arno.cli.servers, arno.gateway.main"
    assert loaded(program, "torch", "transformers", "av") == []
