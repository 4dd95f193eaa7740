"""Tells of jobs that have ended: events to webhooks and to topics of Kafka, at least once.

The store notes the end of a job in its outbox in the same step (``arno.results.outbox``); this
process takes the notes, each subscription for itself, and does not depend on gateways and workers.
"""
