"""The `arno` command: one file a verb. A verb imports what it needs when it runs."""
