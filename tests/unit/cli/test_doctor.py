import io

from arno.cli.checks import Finding, Level
from arno.cli.doctor import _table
from rich.console import Console


def test_advice_is_shown_as_it_must_be_typed():
    finding = Finding(Level.WARN, "device", "no [torch]", "pip install 'arno[worker]'")
    out = io.StringIO()
    Console(file=out, width=120).print(_table([finding]))
    assert "pip install 'arno[worker]'" in out.getvalue()
    assert "no [torch]" in out.getvalue()
