"""Read, convert, merge, write and judge checkpoints; `arno.engine.checkpoint` puts it together.

Two layouts are known: `native`, that of transformers' own Florence-2 classes, and `older`, that of
the first releases, which otherwise needs code from the hub. No code of a checkpoint is ever run.
"""
