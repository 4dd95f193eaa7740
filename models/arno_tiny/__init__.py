"""The recipe of arno-tiny: a real Florence-2 that is small enough to train without a GPU.

Owns its shape, tokenizer, training aids and training loop. What the scenes are is decided in
``world``; how answers are written in ``arno.vocabulary``.
"""
