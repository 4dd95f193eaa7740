"""`arno dataset`: its verbs, by what they are for, and the flags that they share."""

from arno.cli.dataset.command import verb

__all__ = ["verb"]
