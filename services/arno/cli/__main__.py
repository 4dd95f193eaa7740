"""Run the command as `python -m arno.cli`: how `arno up` starts its children."""

from arno.cli.main import main

main()
