"""Run `arno` commands one after the other: each line of standard input is one, as JSON."""

import contextlib
import io
import json
import sys

from arno.cli.main import main


def run(words: list[str]) -> dict[str, object]:
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["arno", *words]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
    return {"exit_code": code, "out": out.getvalue(), "err": err.getvalue()}


if __name__ == "__main__":
    answers = sys.stdout
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=answers, flush=True)
