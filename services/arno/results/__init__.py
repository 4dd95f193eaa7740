"""The result store in Redis: states and results of jobs, and wake-ups for callers that wait.

``gateway_store`` is what a gateway does with it, ``worker_store`` what a worker does, ``jobs`` what
both read, ``keys`` what is in Redis, and ``scripts/`` how a job changes. Nothing here uses gRPC,
Kafka or the model. One Redis primary of version 6.2 or later is assumed that never evicts
(``maxmemory-policy noeviction``).
"""
