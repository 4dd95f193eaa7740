"""Measure what clients feel: the SDK, two gateways of which one leaves, the page, a batch.

python -m benchmarks.clients           # writes docs/clients.md; `--only drain` for one part
python -m benchmarks.clients --small   # a tenth of each: whether everything runs; writes nothing
"""
