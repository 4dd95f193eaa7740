"""The Lua scripts that move a job; each runs atomically, and may run twice with the same effect.

They use commands of Redis 6.2 only. ``job.lua`` is put before each of the others: what they share.
"""
