"""Decoding: many beam searches side by side, each with the result of running alone."""
