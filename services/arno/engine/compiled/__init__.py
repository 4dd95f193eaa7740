"""Parts of a model as machine code for this processor, compiled ahead of time and kept.

`packages` is what all parts share: how they are compiled, compared, kept, found and loaded. A
module for each part says what is compiled and what it takes the place of. `start` is for an engine.
"""
