"""Train and measure models that Arno serves.

Owns the scene generator (``world``), the recipe of the bundled model arno-tiny, and its evaluation.
It may use ``arno.vocabulary``, ``arno.engine`` and ``arno.errors``; it knows nothing of gateways,
queues or workers.
"""
