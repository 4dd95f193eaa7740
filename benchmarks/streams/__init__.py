"""Measurements of topics and videos; ``page`` writes docs/streams-figures.md from their results."""
