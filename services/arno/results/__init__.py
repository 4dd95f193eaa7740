"""Jobs' states and results, and the wake-ups of those who wait for them.

``ports`` says what a store can do, ``keys`` what is in Redis, ``scripts/`` how a job moves, and
``redis/`` is the adapter. Nothing here knows of gRPC, of the bus or of the model.
"""
