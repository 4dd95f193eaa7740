"""The recipe of arno-tiny: a real Florence-2 that is small enough to train without a GPU.

It holds the network's shape, tokenizer, auxiliary heads and curriculum. `arno.training.trainer`
runs the loop, `arno.training.world` renders the scenes, `arno.vocabulary` writes the answers.
"""
