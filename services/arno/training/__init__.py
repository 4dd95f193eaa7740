"""Train and measure models that Arno serves.

`data` holds samples and their files, `world` the rendered scenes, `trainer` the training stack and
`arno train`, `evaluation` the figures of a model. The package depends on no gateway, queue or
worker. The recipe of the bundled model stands outside of it, in `models/arno_tiny`.
"""
