"""Decoding: many beam searches side by side, each with the result of running alone.

Axis letters in shapes: S sequences in slots, K beams, Q tokens of a step, H heads of width D, E
model width, N encoded positions, T positions of an answer, V tokens of the vocabulary.
"""
