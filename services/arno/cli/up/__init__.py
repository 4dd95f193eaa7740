"""`arno up`: the plan of the processes (`machine`), and their supervisor."""

from arno.cli.up.command import STATE_FILE, verb

__all__ = ["STATE_FILE", "verb"]
