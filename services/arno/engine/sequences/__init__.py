"""A sequence, from a task to its answer."""
