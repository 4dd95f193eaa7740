"""`arno eval`: what asks a gateway, what judges a head, and how figures are shown."""

from arno.cli.eval.command import verb

__all__ = ["verb"]
